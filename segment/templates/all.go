// SPDX-License-Identifier: Apache-2.0

package templates

import (
	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/score"
)

// All returns every template, simple ones first. Figures in the rules are where
// the field begins; they are meant to be changed.
func All() []Template {
	text := func(name string) rule.Attribute { return rule.Attribute{Name: name, Type: rule.Text} }
	number := func(name string) rule.Attribute { return rule.Attribute{Name: name, Type: rule.Number} }
	instant := func(name string) rule.Attribute { return rule.Attribute{Name: name, Type: rule.Time} }
	list := func(name string) rule.Attribute { return rule.Attribute{Name: name, Type: rule.List} }
	return []Template{
		one("hot-leads", "no customer yet, and a high score or a look at prices within a week",
			`(score >= 80 || events("Page Viewed").within(days(7)).where(property.path.startsWith("/pricing")).count() >= 1)
  && contact.status != "customer" && events("Order Completed").count() == 0`, text("contact.status")),
		one("active-customers", "bought within 90 days",
			`events("Order Completed").within(days(90)).count() >= 1`),
		one("at-risk", "a customer whose renewal is near and who hardly signs in",
			`contact.status == "customer" && account.renewal_at > now && account.renewal_at - now < days(60)
  && events("Signed In").within(days(30)).count() < 2`,
			text("contact.status"), instant("account.renewal_at")),
		one("inactive", "known for six months, and in six months neither opened nor clicked nor answered nor signed in nor bought; what machines open and click is none of it",
			`now - created_at >= days(180)
  && events("Email Opened").within(days(180)).where(property.machine == false).count() == 0
  && events("Email Link Clicked").within(days(180)).where(property.machine == false).count() == 0
  && events("Email Replied").within(days(180)).count() == 0
  && events("Signed In").within(days(180)).count() == 0
  && events("Order Completed").within(days(180)).count() == 0`),
		one("new-sign-ups", "signed up within 14 days",
			`events("Signed Up").within(days(14)).count() >= 1`),
		one("high-value-trial", "a trial with less than a week left, used for more than ten hours, in a company of more than 50",
			`contact.status == "trial" && contact.trial_end_date > now && contact.trial_end_date - now < days(7)
  && events("Usage Recorded").within(days(30)).sum("hours") > 10 && account.employees > 50`,
			text("contact.status"), instant("contact.trial_end_date"), number("account.employees")),
		one("salesforce-and-marketo", "the company uses both Salesforce and Marketo",
			`has_all(account.technologies, ["Marketo", "Salesforce"])`, list("account.technologies")),
		abm(number("account.abm_tier")),
		one("buying-committee", "champions, deciders, influencers and users of an account that somebody signed in from within 90 days",
			`role in ["champion", "decision-maker", "influencer", "user"]
  && any_contact(events("Signed In").within(days(90)).count() >= 1)`),
		industries(text("account.sic")),
		sizes(number("account.employees")),
		journey(text("contact.status")),
		bands(text("account.sic"), number("account.employees"), text("contact.country")),
	}
}

func abm(tier rule.Attribute) Template {
	return Template{
		Name: "abm-tiers", About: "accounts by how much attention each gets: one to one, one to few, one to many",
		Attributes: []rule.Attribute{tier},
		Segments: []rule.Definition{
			{Name: "abm-tier-1", Where: `account.abm_tier == 1`},
			{Name: "abm-tier-2", Where: `account.abm_tier == 2`},
			{Name: "abm-tier-3", Where: `account.abm_tier == 3`},
		},
	}
}

func industries(sic rule.Attribute) Template {
	return Template{
		Name: "industries", About: "industry by the first digits of the company's SIC code; a company is in one of them at most",
		Attributes: []rule.Attribute{sic},
		Segments: []rule.Definition{
			{Name: "manufacturing", Where: `account.sic.startsWith("2") || account.sic.startsWith("3")`},
			{Name: "retail", Where: `account.sic.matches("^5[2-9]")`},
			{Name: "finance", Where: `account.sic.matches("^6[0-47]")`},
			{Name: "software", Where: `account.sic.startsWith("737")`},
			{Name: "business-services", Where: `account.sic.startsWith("73") && !account.sic.startsWith("737")`},
			{Name: "healthcare", Where: `account.sic.startsWith("80")`},
			{Name: "education", Where: `account.sic.startsWith("82")`},
		},
	}
}

func sizes(employees rule.Attribute) Template {
	return Template{
		Name: "company-sizes", About: "five bands of employees, as most directories have them",
		Attributes: []rule.Attribute{employees},
		Segments: []rule.Definition{
			{Name: "size-1-10", Where: `account.employees >= 1 && account.employees <= 10`},
			{Name: "size-11-50", Where: `account.employees > 10 && account.employees <= 50`},
			{Name: "size-51-200", Where: `account.employees > 50 && account.employees <= 200`},
			{Name: "size-201-1000", Where: `account.employees > 200 && account.employees <= 1000`},
			{Name: "size-over-1000", Where: `account.employees > 1000`},
		},
	}
}

// journey has a stage each, and everybody is in one; who does nothing for 30 days
// falls back to awareness, customers excepted.
func journey(status rule.Attribute) Template {
	return Template{
		Name: "journey", About: "awareness, consideration, decision, customer, advocate; 30 days without a sign of interest fall back to awareness",
		Attributes: []rule.Attribute{status},
		Segments: []rule.Definition{
			{Name: "journey-advocate", Stage: "advocate", Where: `contact.status == "customer" && events("Referral Made").within(days(365)).count() >= 1`},
			{Name: "journey-customer", Stage: "customer", Where: `contact.status == "customer" && !segment("journey-advocate")`},
			{Name: "journey-decision", Stage: "decision", Where: `contact.status != "customer"
  && (events("Demo Requested").within(days(30)).count() >= 1 || events("Trial Started").within(days(30)).count() >= 1)`},
			{Name: "journey-consideration", Stage: "consideration", Where: `contact.status != "customer" && !segment("journey-decision")
  && (events("Content Downloaded").within(days(30)).count() >= 1
    || events("Email Link Clicked").within(days(30)).where(property.machine == false).count() >= 2)`},
			{Name: "journey-awareness", Stage: "awareness", Where: `contact.status != "customer" && !segment("journey-decision") && !segment("journey-consideration")`},
		},
	}
}

// bands come with the points of a usual model: 50 for who it is, of which three
// good answers are more than enough, and 50 for what it does.
func bands(sic, employees, country rule.Attribute) Template {
	return Template{
		Name: "score-bands", About: "lead score: 80 and more to sales, 50 to 79 to nurture, the rest to the newsletter; with the points of a usual model",
		Attributes: []rule.Attribute{sic, employees, country},
		Scores: score.Options{
			Fit: []score.FitRule{
				{Where: `account.sic.startsWith("737")`, Points: 30},
				{Where: `account.employees > 50 && account.employees <= 1000`, Points: 20},
				{Where: `contact.country in ["AT", "CH", "DE"]`, Points: 10},
			},
			Activities: []score.Activity{
				{Event: "Page Viewed", Filter: `property.path.startsWith("/pricing")`, Points: 20, PerDay: 20},
				{Event: "Content Downloaded", Filter: `property.type == "case study"`, Points: 15, PerDay: 30},
				{Event: "Email Link Clicked", Points: 10, PerDay: 20},
				{Event: "Email Opened", Points: 5, PerDay: 5},
			},
		},
		Segments: []rule.Definition{
			{Name: "sales-ready", Where: `score >= 80`},
			{Name: "nurture", Where: `score >= 50 && score < 80`},
			{Name: "newsletter", Where: `!(score >= 50)`},
		},
	}
}
