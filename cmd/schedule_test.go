package cmd

import "testing"

func TestSchedule(t *testing.T) {
	t.Parallel()
	run := operatorOf(t)
	run("", "schedule", "list", "--format", "csv").want(t, 0, "report,domain,user,recipient,by,period,sent,rows,attempts,trouble\n", "")
	run("", "schedule", "set", "daily", "Example.com", "Abuse@example.com").want(t, 0, "daily of Example.com goes to Abuse@example.com\n", "")
	run("", "schedule", "set", "identities", "example.com/192.0.2.1", "--off").want(t, 0, "identities of example.com/192.0.2.1 goes to nobody\n", "")
	run("", "schedule", "list", "--format", "csv").contains(t, 0, "\ndaily,example.com,*,Abuse@example.com,cli:", "\nidentities,example.com,192.0.2.1,,cli:")
	run("", "schedule", "set", "daily", "example.com", "a b@example.com").contains(t, 1, `cannot set who gets report daily of example.com/*: cannot send to "a b@example.com"`)
	run("", "schedule", "set", "weekly", "example.com", "a@example.com").contains(t, 1, `there is no report "weekly" by mail: want daily or identities`)
	run("", "schedule", "run", "daily", "example.com").contains(t, 1, "cannot send a report: there is no mail.relay")
	run("", "schedule", "run", "daily", "example.com", "--print").contains(t, 1, "cannot count report daily of", "cannot connect to ClickHouse at 127.0.0.1:1")
	run("", "schedule", "run", "identities", "example.com/192.0.2.1").contains(t, 1, "nobody gets report identities of example.com/192.0.2.1")
	run("", "schedule", "remove", "daily", "example.com").want(t, 0, "daily of example.com removed\n", "")
	run("", "schedule", "remove", "daily", "example.com").contains(t, 1, "cannot remove daily of example.com: nobody has set it")
	run("", "schedule", "set", "daily", "example.com").contains(t, 2, "want either an address or --off")
	run("", "schedule", "set", "daily", "example.com", "a@example.com", "--off").contains(t, 2, "want either an address or --off")
}
