// Package capacity tells how many machines and how much disk a number of events a day
// needs. A [Measurement] says what an event costs at each stage; [For] makes a [Plan] of
// it, in which every figure carries the arithmetic that it came by, so that a reader can
// do it again with other assumptions.
//
// `make bench-capacity` writes measurements; the one that is used without another
// ([Default]) is in measured.json and names its source.
package capacity
