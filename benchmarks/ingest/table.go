package main

import "fmt"

func (r *Report) text() string {
	s := ""
	for _, x := range r.Results {
		c, _ := x.median(mCPUPerM)
		f, _ := x.median(mFramesPerSec)
		s += fmt.Sprintf("%-12s %-10s %-8s %6.2f CPU-s/M %8.0f frames/s void %d\n", x.Section, x.Peer, x.Case, c, f, len(x.Void))
	}
	return s
}
