// Package quota holds a process to a share of a core, so that several of them can be
// compared on one machine: what counts is not who gets the cores, but what a process does
// with its share.
//
// The kernel does it where a control group can be made: cpu.max of cgroup v2, or
// cpu.cfs_quota_us of v1. That needs root or a delegated group. Everywhere else the process
// is stopped (SIGSTOP) when it has used more than its share so far and let on (SIGCONT)
// when it has not, as Debian's cpulimit does.
package quota
