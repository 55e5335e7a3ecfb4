// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/kv"
	"github.com/seguemta/segue/mta/rfc5321"
)

// spaceEvery is how often the free space is read while no mail comes. While mail
// comes each message reads it: a fast disk is filled between two looks at a clock.
const spaceEvery = 2 * time.Second

// space is what is known of the file system of data_dir.
type space struct {
	full atomic.Bool // below min_free: no mail is taken
	free atomic.Uint64
}

// room refuses new mail while the disk is nearly full or a store has failed: a
// message that cannot be kept must not be taken.
func (e *Engine) room() error {
	if err := e.mail.Err(); err != nil {
		return err
	}
	e.lookAtSpace()
	if e.space.full.Load() || e.mail.Trouble() != "" || e.people.Trouble() != "" {
		return &rfc5321.Refusal{Reply: rfc5321.Reply{Code: 452, Enhanced: rfc5321.EnhancedCode{4, 3, 1}, Text: "insufficient system storage"}}
	}
	return nil
}

// diskProblems is why room refuses, for operators.
func (e *Engine) diskProblems() []string {
	var list []string
	if e.space.full.Load() {
		list = append(list, fmt.Sprintf("%d MiB are free in data_dir %s, less than queue.min_free: no mail is taken until there is more; what is queued is delivered",
			e.space.free.Load()>>20, e.c.DataDir))
	}
	for _, s := range []struct{ name, trouble string }{{"queue", e.mail.Trouble()}, {"contacts", e.people.Trouble()}} {
		if s.trouble != "" {
			list = append(list, "the "+s.name+" store cannot write its tables, no mail is taken until it can: "+s.trouble)
		}
	}
	return list
}

// watchSpace keeps an eye on the free space until ctx ends.
func (e *Engine) watchSpace(ctx context.Context) {
	for ctx.Err() == nil {
		e.lookAtSpace()
		pause(ctx, spaceEvery)
	}
}

// lookAtSpace reads the free space, which takes about a microsecond.
func (e *Engine) lookAtSpace() {
	free, _, err := kv.Space(string(e.c.DataDir))
	if err != nil {
		e.log.Error("reading the free space failed", slog.Any("error", err))
		return
	}
	e.noteSpace(free)
}

func (e *Engine) noteSpace(free uint64) {
	least := uint64(e.c.Queue.MinFree.Bytes()) //nolint:gosec // a size is not negative
	e.space.free.Store(free)
	full := free < least
	if e.space.full.Swap(full) == full {
		return
	}
	figures := []any{slog.Uint64("free_bytes", free), slog.Uint64("min_free_bytes", least), slog.String("data_dir", string(e.c.DataDir))}
	if full {
		e.log.Warn("disk is nearly full: no mail is taken until there is more room than queue.min_free, what is queued is delivered", figures...)
		return
	}
	e.log.Info("disk has room again: mail is taken", figures...)
}

// cutIfFailed cuts what is under way as soon as the queue's store has failed: its
// outcomes can be recorded no more, so each delivery that ends well now comes twice.
func (e *Engine) cutIfFailed(ctx context.Context, cut context.CancelFunc) {
	select {
	case <-ctx.Done():
	case <-e.mail.Failed():
		cut()
	}
}

const (
	// openNeeds is what opening both stores writes beside the content of their logs.
	openNeeds = 4 << 20
	// awaitEvery is how often AwaitSpace looks.
	awaitEvery = time.Second
	// awaitSay is how often it says that it waits.
	awaitSay = 30 * time.Second
)

// AwaitSpace returns when the disk has room to open the stores, or ctx ends. A
// store that was not closed writes its log out as tables when it is opened; on a full disk
// that fails again and again, until systemd gives up and the engine stays down
// when there is room again. It never asks for more than half of queue.min_free:
// the mail that is queued stops above that, and must be able to leave.
func AwaitSpace(ctx context.Context, c *config.Config, log *slog.Logger) error {
	var said time.Time
	for ctx.Err() == nil {
		need, free, err := opening(string(c.DataDir))
		need = min(need, uint64(c.Queue.MinFree.Bytes())/2) //nolint:gosec // a size is not negative
		if err != nil || free >= need {
			return err
		}
		if time.Since(said) >= awaitSay {
			said = time.Now()
			log.Error("disk is full: waiting for room to open the stores, nothing is accepted or delivered until space is freed in data_dir; what was answered 250 is safe",
				slog.String("data_dir", string(c.DataDir)), slog.Uint64("free_bytes", free), slog.Uint64("needed_bytes", need))
		}
		pause(ctx, awaitEvery)
	}
	return nil
}

// opening is the bytes that opening the stores takes, and those that are free.
// Stores that do not exist yet need nothing that is worth waiting for.
func opening(dir string) (need, free uint64, err error) {
	logs, err := filepath.Glob(filepath.Join(dir, "*", "*.log"))
	if err != nil || len(logs) == 0 {
		return 0, 0, err
	}
	need = openNeeds
	for _, name := range logs {
		info, err := os.Stat(name)
		if err != nil {
			return 0, 0, fmt.Errorf("reading the size of a store's log: %w", err)
		}
		need += uint64(info.Size()) //nolint:gosec // a size is not negative
	}
	free, _, err = kv.Space(dir)
	return need, free, err
}

// disks shows how the disk behaves; it is computed when it is read.
type disks struct {
	e                       *Engine
	slow, failures, failing *prometheus.Desc
	free, least             *prometheus.Desc
}

func newDisks(e *Engine) *disks {
	store := []string{"store"} // queue or contacts
	return &disks{
		e: e,
		slow: prometheus.NewDesc("segue_store_slow_syncs_total",
			"Syncs of a store's log that took over a second. Every client waits for one before its 250.", store, nil),
		failures: prometheus.NewDesc("segue_store_failures_total",
			"Flushes and compactions of a store that failed and were tried again.", store, nil),
		failing: prometheus.NewDesc("segue_store_failing",
			"1 while a store cannot write its tables: no mail is taken.", store, nil),
		free:  prometheus.NewDesc("segue_disk_free_bytes", "Bytes free in data_dir.", nil, nil),
		least: prometheus.NewDesc("segue_disk_min_free_bytes", "queue.min_free: with less free than this no mail is taken.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (d *disks) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(d, ch) }

// Collect implements prometheus.Collector.
func (d *disks) Collect(ch chan<- prometheus.Metric) {
	for _, s := range []struct {
		name string
		disk kv.Disk
	}{{"queue", d.e.mail.Disk()}, {"contacts", d.e.people.Disk()}} {
		ch <- prometheus.MustNewConstMetric(d.slow, prometheus.CounterValue, float64(s.disk.Slow), s.name)
		ch <- prometheus.MustNewConstMetric(d.failures, prometheus.CounterValue, float64(s.disk.Failures), s.name)
		failing := 0.0
		if s.disk.Failing {
			failing = 1
		}
		ch <- prometheus.MustNewConstMetric(d.failing, prometheus.GaugeValue, failing, s.name)
	}
	ch <- prometheus.MustNewConstMetric(d.free, prometheus.GaugeValue, float64(d.e.space.free.Load()))
	ch <- prometheus.MustNewConstMetric(d.least, prometheus.GaugeValue, float64(d.e.c.Queue.MinFree.Bytes()))
}
