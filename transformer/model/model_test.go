package model

import (
	"os"
	"strconv"
	"testing"
	"time"
)

func number(name string, or int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return or
}

func TestScratch(t *testing.T) {
	c := Config{Protocol(), Assumed(), Bounds{Records: number("R", 2), Faults: number("F", 1), Kinds: Faults(number("K", int(AllFaults))), States: 8_000_000}}
	begin := time.Now()
	r, err := Explore(c)
	t.Logf("%d states %d steps %d quiet %v %v\n%s", r.States, r.Steps, r.Quiet, time.Since(begin), err, r)
}
