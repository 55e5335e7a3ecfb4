// SPDX-License-Identifier: Apache-2.0

package breaker

import "time"

// Observe adds up what was learnt. It decides nothing: [Policy.Tick] does.
func (p *Policy) Observe(s *State, o Observation) {
	if o.Sent.Before(s.Fresh) {
		return // of mail that was judged
	}
	t := s.Trial
	if t == nil || !o.Sample || o.Sent.Before(t.Begun) {
		o.Admitted = 0 // of a trial that is over
		if o.Counts != (Counts{}) {
			s.Window.Add(o.Day, o.Tier, o.Counts, p.Days)
		}
		return
	}
	if o.Admitted > 0 && (t.Started.IsZero() || o.Sent.Before(t.Started)) {
		t.Started = instant(o.Sent)
	}
	t.Counts.Add(o.Counts)
}

// Resize tells how many contacts of a cohort are unproven and have mail
// waiting. The first of them begin the canary; campaigns have none.
func (p *Policy) Resize(s *State, now time.Time, unproven uint64) []Act {
	switch {
	case s.Phase == HalfOpen:
		s.Trial.Size = max(s.Trial.Size, min(unproven, maxCount))
	case s.Phase == Open || s.Kind == Campaign || s.Refused || unproven == 0:
	case s.Trial != nil:
		s.Trial.Size = max(s.Trial.Size, min(unproven, maxCount))
	default:
		s.begin(now, unproven)
		return []Act{s.act(now, Act{Kind: CanaryBegun, Size: s.Trial.Size, Share: p.share(s.Trial.Size)})}
	}
	return nil
}

// begin starts a trial: of other contacts than the last one.
func (s *State) begin(now time.Time, size uint64) {
	s.Trials++
	s.Trial = &Trial{Begun: instant(now), Size: min(size, maxCount)}
}

// instant is a time as states hold it: in UTC, without the machine's clock.
func instant(t time.Time) time.Time { return t.UTC().Round(0) }

// Tick decides what the evidence and the time allow to decide. pools are
// those that the cohort belongs to, nearest first: its tier, all.
func (p *Policy) Tick(s *State, now time.Time, pools ...Pool) []Act {
	now = instant(now)
	s.follow(now)
	var acts []Act
	if s.Hand != nil && s.hand(now) == nil {
		acts = append(acts, s.act(now, Act{Kind: HandEnded, Note: by(s.Hand.By, s.Hand.Reason)}))
		s.Hand = nil
	}
	h := s.hand(now)
	switch {
	case h != nil && h.Hold:
		return acts
	case s.Phase == Open:
		if now.Before(s.Until) {
			return acts
		}
		s.begin(now, 0)
		s.Phase, s.Since, s.Until = HalfOpen, now, time.Time{}
		s.Fresh = now // what is sent from now on is the trial
		return append(acts, s.act(now, Act{Kind: HalfOpened, Share: p.Share, Note: s.Why}))
	case s.Phase == HalfOpen:
		return append(acts, p.retry(s, now)...)
	}
	if f := worst(p.Health(s, pools...)); f != nil {
		if f.Level == Stop && h == nil {
			a := p.open(s, now, f.String())
			a.Finding = f
			return append(acts, a)
		}
		acts = append(acts, p.warn(s, now, f)...)
	}
	if s.Trial != nil {
		acts = append(acts, p.canary(s, now)...)
	}
	return acts
}

// behind is by how much time may be behind what a state knows before the clock was set back.
const behind = 10 * time.Minute

// follow follows a clock that was set back: what is sent from now on is not mail of before what was
// judged, or of before the trial, only because it is earlier by the clock. Ends are dates and stay.
func (s *State) follow(now time.Time) {
	times := []*time.Time{&s.Fresh, &s.Warned}
	if s.Trial != nil {
		times = append(times, &s.Trial.Begun, &s.Trial.Started)
	}
	for _, t := range times {
		if t.After(now.Add(behind)) {
			*t = now
		}
	}
}

// warn tells of a finding once a day.
func (p *Policy) warn(s *State, now time.Time, f *Finding) []Act {
	if !s.Warned.IsZero() && now.Before(s.Warned.Add(24*time.Hour)) {
		return nil
	}
	s.Warned = now
	a := Act{Kind: Warned, Finding: f, Note: f.String()}
	if f.Level == Stop {
		a.Note += "; it goes on because of an override " + by(s.Hand.By, s.Hand.Reason)
	}
	return []Act{s.act(now, a)}
}

// open holds the cohort's mail: each time in a row twice as long.
func (p *Policy) open(s *State, now time.Time, why string) Act {
	if s.Phase == Closed && !s.Since.IsZero() && !now.Before(s.Since.Add(p.Again)) {
		s.Opened = 0
	}
	wait := p.Wait
	for range min(s.Opened, 16) {
		wait = min(2*wait, p.Longest)
	}
	s.Phase, s.Since, s.Until, s.Trial = Open, now, now.Add(wait), nil
	s.Opened++
	s.Why = shorten(why)
	return s.act(now, Act{Kind: Opened, Until: s.Until, Note: s.Why})
}

// retry judges the trial of a half-open breaker.
func (p *Policy) retry(s *State, now time.Time) []Act {
	counts := s.Trial.Counts
	var a Act
	switch result, why := p.decide(s.Trial, now); result {
	case passed:
		s.close(p, now)
		a = s.act(now, Act{Kind: ClosedAgain, Note: why})
	case failed:
		a = p.open(s, now, "the trial failed: "+why)
	case empty:
		s.begin(now, s.Trial.Size)
		a = s.act(now, Act{Kind: TriedAgain, Note: why})
	case undecided:
		if at := p.unlucky(s); at.IsZero() || now.Before(at) {
			return nil
		}
		s.begin(now, 0) // how many wait is told anew: where nobody does, nobody is tried again
		a = s.act(now, Act{Kind: TriedAgain, Note: "none of the few who wait was of the sample"})
	default:
		return nil
	}
	a.Counts = &counts
	return []Act{a}
}

// few is of how many who wait a random half may be nobody: of twenty it is once in a million.
const few = 20

// unlucky is when others are tried, because nobody of the few who wait for a half-open breaker has left;
// the zero time = never.
func (p *Policy) unlucky(s *State) time.Time {
	t := s.Trial
	if s.Phase != HalfOpen || t.Counts.Admitted > 0 || t.Size == 0 || t.Size > few {
		return time.Time{}
	}
	return t.Begun.Add(p.After)
}

// close lets everything go.
func (s *State) close(p *Policy, now time.Time) {
	s.Phase, s.Since, s.Until, s.Trial, s.Why = Closed, now, time.Time{}, nil, ""
	s.Window, s.Fresh, s.Warned = nil, now, time.Time{}
	s.pass(p, now)
}

// pass proves a batch, which is one thing, and of a segment those whose sample
// is old enough to say something: who entered lately is the next canary's.
func (s *State) pass(p *Policy, now time.Time) {
	if s.Kind == Segment {
		now = now.Add(-p.After)
	}
	s.prove(now)
}

// Untry ends the canary of a cohort that is closed, and whatever it holds: nobody is tried first any
// more. Who is unproven stays so, for the day on which there are canaries again.
func (s *State) Untry(now time.Time, why string) []Act {
	s.Trial, s.Refused, s.Why = nil, false, ""
	return []Act{s.act(now, Act{Kind: CanaryEnded, Note: why})}
}

func (s *State) prove(entered time.Time) {
	s.Refused = false
	if entered.After(s.Proven) {
		s.Proven = entered
	}
}

// canary judges the trial of an unproven cohort.
func (p *Policy) canary(s *State, now time.Time) []Act {
	counts := s.Trial.Counts
	var a Act
	switch result, why := p.decide(s.Trial, now); result {
	case passed:
		s.Trial = nil
		s.pass(p, now)
		a = s.act(now, Act{Kind: CanaryPassed, Note: why})
	case failed:
		s.Trial, s.Refused = nil, true
		s.Why = shorten("the canary failed: " + why)
		a = s.act(now, Act{Kind: CanaryFailed, Note: why})
	case empty:
		s.begin(now, s.Trial.Size)
		a = s.act(now, Act{Kind: TriedAgain, Note: why})
	default:
		return nil
	}
	a.Counts = &counts
	return []Act{a}
}

// Next is when Tick may have something to do without a new observation; the
// zero time = not by itself.
func (p *Policy) Next(s *State, now time.Time) time.Time {
	var next time.Time
	see := func(t time.Time) {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if s.Hand != nil {
		see(s.Hand.Until)
		if s.Hand.Hold {
			return next
		}
	}
	see(s.Until)
	if t := s.Trial; t != nil && !t.Started.IsZero() {
		see(t.Started.Add(p.After))
		see(t.Started.Add(p.Unknown))
	}
	see(p.unlucky(s))
	return next
}

// Due reports whether Tick may have something to do at a time without a new observation.
func (p *Policy) Due(s *State, now time.Time) bool {
	if s.Hand != nil && s.hand(now) == nil {
		return true
	}
	switch t := s.Trial; {
	case s.Hand != nil && s.Hand.Hold:
		return false
	case s.Phase == Open:
		return !now.Before(s.Until)
	case t == nil:
		return false
	case t.Started.IsZero():
		at := p.unlucky(s)
		return !at.IsZero() && !now.Before(at)
	default:
		return !now.Before(t.Started.Add(p.After))
	}
}

// Idle reports whether a cohort is as one of which nothing is known, but for mail that
// counts no more: to forget it changes nothing. One that is proven stays.
func (p *Policy) Idle(s *State, now time.Time, today int32) bool {
	if s.Phase != Closed || s.Hand != nil || s.Trial != nil || s.Refused || !s.Proven.IsZero() {
		return false
	}
	if s.Opened > 0 && now.Before(s.Since.Add(p.Again)) {
		return false // it would open for longer
	}
	return len(s.Window) == 0 || int(s.Window[len(s.Window)-1].Day) <= int(today)-p.Days
}

// Harmless reports whether a cohort that is as one of which nothing is known, but for its
// mail, has too little against it for anything.
func (p *Policy) Harmless(s *State) bool {
	if s.Phase != Closed || s.Hand != nil || s.Trial != nil || s.Refused || !s.Proven.IsZero() || s.Opened > 0 {
		return false
	}
	own := s.Window.Sum()
	for _, m := range p.measures() {
		if hits, _ := m.count(own); hits >= p.Events {
			return false
		}
	}
	return true
}

// Hold holds a cohort by hand until it is released, or until a time.
func (p *Policy) Hold(s *State, now time.Time, h Hand) []Act {
	h.Hold, h.At = true, instant(now)
	s.Hand = &h
	return []Act{s.act(now, Act{Kind: HeldByHand, Until: h.Until, Note: by(h.By, h.Reason)})}
}

// Override lets a cohort go whatever its evidence is, until it is released, or until a time.
func (p *Policy) Override(s *State, now time.Time, h Hand) []Act {
	h.Hold, h.At = false, instant(now)
	s.Hand = &h
	return []Act{s.act(now, Act{Kind: Overridden, Until: h.Until, Note: by(h.By, h.Reason)})}
}

// Release ends whatever holds a cohort or overrides its breaker. Evidence up to now is
// spent, who is a member is proven, and what is sent from now on is judged anew.
func (p *Policy) Release(s *State, now time.Time, who, reason string) []Act {
	now = instant(now)
	s.Hand, s.Opened = nil, 0
	s.close(p, now)
	s.prove(now)
	return []Act{s.act(now, Act{Kind: ReleasedByHand, Note: by(who, reason)})}
}

// LetGo reports whether a cohort was released by hand after some mail was accepted: it goes, whoever
// it is for. A trial that passes proves those of before it began, and is told from a release by that.
func (s *State) LetGo(accepted time.Time) bool {
	return s.Phase == Closed && !s.Proven.IsZero() && s.Proven.Equal(s.Since) && accepted.Before(s.Proven)
}

func by(who, reason string) string {
	if reason == "" {
		return "by " + who
	}
	return "by " + who + ": " + reason
}

func shorten(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return s
}
