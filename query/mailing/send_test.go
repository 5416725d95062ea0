package mailing

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"millrace/internal/config"
	"millrace/query/querytest"
	"millrace/query/state"
)

const (
	abuse  = "abuse@example.com"
	period = "2026-11-26"
)

var (
	daily = config.Recipient{Report: Daily, Domain: "example.com", Recipient: abuse}
	every = config.Recipient{Report: Identities, Domain: "Example.com", Recipient: abuse}
	// morning is when the reports of the day are due.
	morning = day.Add(24*time.Hour + 20*time.Minute)
	by      = state.By{Actor: "cli:joe", How: state.CLI}
)

// few are events whose reports fit on a page.
func few() []event {
	var all []event
	for n, e := range []event{
		{class: "spam", status: "rejected", user: "192.0.2.1@example.com", identity: "bob@example.com"},
		{class: "spam", status: "rejected", user: "192.0.2.1@example.com", identity: "bob@example.com"},
		{class: "not-spam", status: "delivered", user: "192.0.2.1@example.com", identity: "bea@example.com"},
		{class: "block-list", status: "rejected", user: "192.0.2.1@example.com", identity: "bea@example.com", sub: "Invalid sender"},
		{class: "phish", status: "quarantined", user: "@example.com", identity: "b, \"Jürgen\"\r\nBcc: eve@example.net"},
		{class: "spam", status: "rejected", user: "@example.com", identity: "b, \"Jürgen\"\r\nBcc: eve@example.net"},
		{class: "spam", status: "rejected", user: "@example.com", identity: "=cmd|' /C calc'!A0"},
		{class: "virus", status: "rejected", user: "@example.com"},
		{class: "spam", status: "rejected", user: "@example.com"},
	} {
		e.idTime = day.Add(23*time.Hour + time.Duration(n)*time.Minute)
		e.at, e.id, e.domain, e.recipient, e.subject = e.idTime, fmt.Sprintf("1abcde-%06d-00", n), "example.com", "r@far.example", "a secret subject"
		all = append(all, e)
	}
	return all
}

func TestMail_Golden(t *testing.T) {
	t.Parallel()
	r := newRig(t, morning, querytest.Reader(t, store(t, few())), nil, daily, every,
		config.Recipient{Report: Daily, Domain: "example.com", Username: "192.0.2.1", Recipient: "Boss+1@Bücher.example"})
	m := r.mailer()
	r.rounds(m, 3)
	r.count(3)
	letters := map[string]letter{}
	for _, l := range r.post.all() {
		if l.from != "reports@relay.example.net" || strings.Contains(l.text, "secret") {
			t.Errorf("%+v", l)
		}
		letters[l.to+l.header(t, "List-Id")] = l
	}
	golden(t, "daily.eml", letters[abuse+"Millrace reports daily <daily.reports.relay.example.net>"].text)
	golden(t, "identities.eml", letters[abuse+"Millrace reports identities <identities.reports.relay.example.net>"].text)
	golden(t, "user.eml", letters["Boss+1@xn--bcher-kva.exampleMillrace reports daily <daily.reports.relay.example.net>"].text)
	s := r.sent(m, Daily, "example.com", state.AllUsers, period)
	if s.Sent.IsZero() || s.Attempts != 1 || s.Rows != 2 || s.Recipient != abuse || s.MessageID == "" || s.Error != "" || s.Last.Action != "sent" {
		t.Errorf("%+v", s)
	}
}

// Several instances send one mail, and who begins to act later does not send it again.
func TestRun_OneMail(t *testing.T) {
	t.Parallel()
	r := newRig(t, morning, querytest.Reader(t, store(t, few())), nil, daily)
	r.o.Every = 10 * time.Millisecond
	type instance struct {
		*Mailer
		looks chan int
		stop  context.CancelFunc
		done  chan error
	}
	acts := make(chan int, 2)
	var all []*instance
	for n := range 2 {
		ctx, cancel := context.WithCancel(context.Background())
		i := &instance{Mailer: r.mailer(), looks: make(chan int, 1), stop: cancel, done: make(chan error, 1)}
		rounds := 0
		i.looked = func() {
			if rounds++; rounds == 3 {
				acts <- n
			}
		}
		go func() { i.done <- i.Run(ctx) }()
		t.Cleanup(cancel)
		all = append(all, i)
	}
	first := <-acts
	r.count(1)
	all[first].stop()
	must(t, <-all[first].done)
	all[first].o.Store.Close()
	second := <-acts
	if second == first {
		t.Fatal("who has stopped acts")
	}
	r.count(1)
	r.clock.add(24 * time.Hour)
	for l := <-r.post.came; !strings.Contains(l.text, "2026-11-27"); l = <-r.post.came {
	}
	r.count(2)
	all[second].stop()
	must(t, <-all[second].done)
}

// The instance dies between the claim and its note that the mail was sent: another one sends
// it once more, with the same Message-ID. When that one dies too, nobody does again.
func TestRound_Crash(t *testing.T) {
	t.Parallel()
	var kill func()
	r := newRig(t, morning, querytest.Reader(t, store(t, few())), func(int, letter) error { kill(); return nil }, daily)
	die := func() { r.dying(&kill) }
	die()
	r.count(1)

	kill = func() {}
	m := r.mailer()
	r.rounds(m, 2) // whoever has claimed it may be at it still
	r.count(1)
	if s := r.sent(m, Daily, "example.com", state.AllUsers, period); !isOpen(s) {
		t.Errorf("%+v", s)
	}
	m.o.Store.Close()

	r.clock.add(3 * time.Minute)
	die()
	r.count(2)
	r.clock.add(3 * time.Minute)
	kill = func() {}
	m = r.mailer()
	r.rounds(m, 3)
	r.clock.add(2 * time.Hour)
	r.rounds(m, 3)
	r.count(2)
	letters := r.post.all()
	if a, b := letters[0].header(t, "Message-Id"), letters[1].header(t, "Message-Id"); a == "" || a != b {
		t.Errorf("Message-IDs %q and %q", a, b)
	}
	s := r.sent(m, Daily, "example.com", state.AllUsers, period)
	if s.Over == "" || !s.Sent.IsZero() || s.Unsure != 2 || s.Last.Action != "give-up" {
		t.Errorf("%+v", s)
	}
	if n := metric(t, m, "millrace_report_mails_missed_total", reasonUnsure); n != 1 {
		t.Errorf("%v unsure", n)
	}
}

// Only once nobody notes what became of the mail: the second one is the last.
func TestRound_CrashOnce(t *testing.T) {
	t.Parallel()
	var kill func()
	r := newRig(t, morning, querytest.Reader(t, store(t, few())), func(int, letter) error { kill(); return nil }, daily)
	r.dying(&kill)
	kill = func() {}
	r.clock.add(3 * time.Minute)
	m := r.mailer()
	r.rounds(m, 3)
	r.count(2)
	if s := r.sent(m, Daily, "example.com", state.AllUsers, period); s.Sent.IsZero() || s.Attempts != 2 || s.Unsure != 1 {
		t.Errorf("%+v", s)
	}
	if n := metric(t, m, "millrace_report_mails_resent_total", ""); n != 1 {
		t.Errorf("%v resent", n)
	}
}

// The term ends while the mail is on its way: what came of it is noted all the same, and the
// next one to act sends nothing.
func TestRound_TermEnds(t *testing.T) {
	t.Parallel()
	var end func()
	r := newRig(t, morning, querytest.Reader(t, store(t, few())), func(int, letter) error { end(); return nil }, daily)
	m := r.mailer()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	term, err := m.o.Store.Leader(ctx)
	must(t, err)
	acting, stop := context.WithCancel(ctx)
	end = stop
	m.round(acting, term)
	if s := r.sent(m, Daily, "example.com", state.AllUsers, period); s.Sent.IsZero() {
		t.Errorf("%+v", s)
	}
	r.clock.add(3 * time.Minute)
	r.rounds(m, 2)
	r.count(1)
}

// The connection ends behind the last dot, without an answer.
func TestRound_Cut(t *testing.T) {
	t.Parallel()
	r := newRig(t, morning, querytest.Reader(t, store(t, few())), func(int, letter) error { return errCut }, daily)
	m := r.mailer()
	r.rounds(m, 2)
	r.count(1)
	s := r.sent(m, Daily, "example.com", state.AllUsers, period)
	if s.Unsure != 1 || !strings.Contains(s.Error, "the relay has not said whether it has taken the mail") {
		t.Errorf("%+v", s)
	}
	if _, err := m.SendNow(t.Context(), Daily, "example.com", "", false); err == nil || !strings.Contains(err.Error(), "it may have been sent to abuse@example.com") {
		t.Error(err)
	}
	for range 5 {
		r.clock.add(time.Hour)
		r.rounds(m, 2)
	}
	r.count(2)
	if s := r.sent(m, Daily, "example.com", state.AllUsers, period); s.Over == "" || s.Unsure != 2 {
		t.Errorf("%+v", s)
	}
	if a, b := metric(t, m, "millrace_report_mails_resent_total", ""), metric(t, m, "millrace_report_mails_sent_total", ""); a != 1 || b != 0 {
		t.Errorf("%v resent, %v sent", a, b)
	}
}

// A relay that says no is asked again, less and less often, and its no is no mail.
func TestRound_Refused(t *testing.T) {
	t.Parallel()
	no := true
	r := newRig(t, morning, querytest.Reader(t, store(t, few())), func(int, letter) error {
		if no {
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "Later,\r\nplease"}
		}
		return nil
	}, daily)
	m := r.mailer()
	for n, pause := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		r.rounds(m, 2)
		r.count(n + 1)
		r.clock.add(pause*time.Minute - time.Second)
		r.rounds(m, 1)
		r.count(n + 1)
		r.clock.add(time.Second)
	}
	s := r.sent(m, Daily, "example.com", state.AllUsers, period)
	if s.Attempts != 8 || s.Unsure != 0 || !strings.Contains(s.Error, "Later") || strings.ContainsAny(s.Error, "\r\n") {
		t.Errorf("%+v", s)
	}
	// The next period is due: this one is over. Then the relay takes the mail again.
	r.clock.add(24 * time.Hour)
	no = false
	r.rounds(m, 2)
	r.count(9)
	if s := r.sent(m, Daily, "example.com", state.AllUsers, period); !strings.Contains(s.Over, "not sent within its period") {
		t.Errorf("%+v", s)
	}
	if s := r.sent(m, Daily, "example.com", state.AllUsers, "2026-11-27"); s.Sent.IsZero() || s.Attempts != 1 {
		t.Errorf("%+v", s)
	}
	if n := metric(t, m, "millrace_report_mails_missed_total", reasonFailed); n != 1 {
		t.Errorf("%v failed", n)
	}
}

// A relay that is not there keeps no report waiting that is of another schedule.
func TestRound_Unreachable(t *testing.T) {
	t.Parallel()
	r := newRig(t, morning, querytest.Reader(t, store(t, few())), nil, daily, every)
	address := r.o.Relay.Address
	r.o.Relay.Address = "127.0.0.1:1"
	m := r.mailer()
	r.rounds(m, 1)
	s := r.sent(m, Daily, "example.com", state.AllUsers, period)
	if s.Unsure != 0 || !strings.Contains(s.Error, "cannot send mail over 127.0.0.1:1 (mail.relay)") {
		t.Errorf("%+v", s)
	}
	if _, ok := m.o.Store.Snapshot().Sent(Identities, "example.com", state.AllUsers, "2026-11-26T22:00Z"); ok {
		t.Error("the other one was tried too")
	}
	m.o.Relay.Address = address
	r.clock.add(time.Minute)
	r.rounds(m, 1)
	r.count(2)
}

// Nobody was there for days: the last period is sent, the others are counted.
func TestRound_Missed(t *testing.T) {
	t.Parallel()
	r := newRig(t, morning, querytest.Reader(t, store(t, few())), nil, daily, every)
	m := r.mailer()
	r.rounds(m, 1)
	r.count(2)
	r.clock.add(72 * time.Hour)
	r.rounds(m, 2)
	r.count(4)
	if s := r.sent(m, Daily, "example.com", state.AllUsers, "2026-11-29"); s.Skipped != 2 || s.Sent.IsZero() {
		t.Errorf("%+v", s)
	}
	if s := r.sent(m, Identities, "example.com", state.AllUsers, "2026-11-29T22:00Z"); s.Skipped != 35 || s.Sent.IsZero() {
		t.Errorf("%+v", s)
	}
	if n := metric(t, m, "millrace_report_mails_missed_total", reasonSkipped); n != 37 {
		t.Errorf("%v skipped", n)
	}
	// The state does not grow with every period.
	for range 6 {
		r.clock.add(2 * time.Hour)
		r.rounds(m, 2)
	}
	r.count(10)
	if n := len(m.o.Store.Snapshot().AllSent()); n > 5 {
		t.Errorf("%d records", n)
	}
}

// What is set in the state holds above the configuration; what is set begins with the period
// that is due next.
func TestSetRecipient(t *testing.T) {
	t.Parallel()
	r := newRig(t, morning, querytest.Reader(t, store(t, few())), nil, daily)
	m := r.mailer()
	s := m.o.Store
	must(t, SetRecipient(t.Context(), s, by, Daily, "EXAMPLE.com", "", ""))
	r.rounds(m, 2)
	r.count(0)
	want := Schedule{Report: Daily, Domain: "example.com", User: "*"}
	if list := Schedules(s.Snapshot(), m.o.Recipients); len(list) != 1 || list[0].Recipient != "" || list[0].By != "cli:joe" {
		t.Errorf("%+v, want %+v", list, want)
	}
	if _, err := m.SendNow(t.Context(), Daily, "example.com", "", false); err == nil || !strings.Contains(err.Error(), "nobody gets report daily of example.com/*: millrace schedule set daily example.com/* ADDRESS") {
		t.Error(err)
	}
	removed, err := RemoveRecipient(t.Context(), s, by, Daily, "example.com", "*")
	if must(t, err); !removed {
		t.Error("nothing was removed")
	}
	r.rounds(m, 2)
	r.count(1)
	if _, err := m.SendNow(t.Context(), Daily, "example.com", "", false); err == nil || !strings.Contains(err.Error(), "it was sent to abuse@example.com at 2026-11-27T00:20:00Z") {
		t.Error(err)
	}
	if again, err := m.SendNow(t.Context(), Daily, "example.com", "", true); err != nil || again.Attempts != 2 {
		t.Errorf("%+v, %v", again, err)
	}
	r.count(2)

	// A recipient that is set now gets what ends later.
	r.clock.t = time.Now()
	must(t, SetRecipient(t.Context(), s, by, Identities, "example.com", "192.0.2.1", "bob@example.com"))
	r.rounds(m, 1)
	for _, l := range r.post.all() {
		if l.to == "bob@example.com" {
			t.Error("a period of before was sent")
		}
	}
	r.clock.add(2 * time.Hour)
	r.rounds(m, 1)
	if l := r.post.all(); l[len(l)-1].to != "bob@example.com" {
		t.Errorf("%+v", l[len(l)-1])
	}
}

func TestSetRecipient_Failure(t *testing.T) {
	t.Parallel()
	r := newRig(t, morning, querytest.Reader(t, ""), nil)
	s := r.mailer().o.Store
	f := func(report, domain, user, recipient, want string) {
		t.Helper()
		if err := SetRecipient(t.Context(), s, by, report, domain, user, recipient); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	f("weekly", "example.com", "", abuse, `there is no report "weekly" by mail: want daily or identities`)
	f(Daily, "", "", abuse, "cannot use a domain: it is empty")
	f(Daily, "example.com\r\nBcc: x", "", abuse, "cannot use domain")
	f(Daily, "example.com", "a\r\nBcc: x@example.com", abuse, "it has a control character")
	f(Daily, "example.com", strings.Repeat("a", 1025), abuse, "more than 1024 bytes")
	f(Daily, "example.com", "", "a@example.com\r\nBcc: x@example.com", "cannot send to")
	f(Daily, "example.com", "", "a@example.com, b@example.com", "cannot send to")
	f(Daily, "example.com", "", "nobody", "want NAME@DOMAIN")
	if n := len(s.Snapshot().Schedules()); n != 0 {
		t.Errorf("%d schedules", n)
	}
}

// A report that cannot be counted is neither claimed nor sent.
func TestRound_NoDatabase(t *testing.T) {
	t.Parallel()
	ch := querytest.Reader(t, "")
	ch.Addresses, ch.DialTimeout = []string{"127.0.0.1:1"}, time.Second
	r := newRig(t, morning, ch, nil, daily)
	m := r.mailer()
	r.rounds(m, 2)
	r.count(0)
	if n := len(m.o.Store.Snapshot().AllSent()); n != 0 {
		t.Errorf("%d records", n)
	}
	if n := metric(t, m, "millrace_report_mail_errors_total", ""); n != 2 {
		t.Errorf("%v errors", n)
	}
	if _, err := m.SendNow(t.Context(), Daily, "example.com", "", false); err == nil || !strings.Contains(err.Error(), "cannot count report daily of 2026-11-26") {
		t.Error(err)
	}
}

// Of those who want to send the same report at the same moment one does.
func TestSendNow_Race(t *testing.T) {
	t.Parallel()
	r := newRig(t, morning, querytest.Reader(t, store(t, few())), nil, daily)
	results := make(chan error, 3)
	for range 3 {
		m := r.mailer()
		go func() {
			_, err := m.SendNow(context.WithoutCancel(t.Context()), Daily, "example.com", "", false)
			results <- err
		}()
	}
	sent := 0
	for range 3 {
		if err := <-results; err == nil {
			sent++
		} else if !errors.Is(err, state.ErrConflict) && !strings.Contains(err.Error(), "sent") {
			t.Error(err)
		}
	}
	if r.count(1); sent != 1 {
		t.Errorf("%d have sent it", sent)
	}
}
