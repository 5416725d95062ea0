// Package status is what a daemon says of itself under /status, and how `millrace
// status` asks for it and shows it. The daemons fill a [Status]; [Handler] serves it as
// JSON; [Get] asks; [Status.Write] shows it to a person.
//
// It names the addresses of those who send and the filtering hosts, and nothing of what
// they send.
package status
