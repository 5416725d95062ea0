package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"millrace/benchmarks/report"
)

// decodeBenchmark is the Go benchmark of a frame's decoding, without sockets and Kafka.
const decodeBenchmark, decodePackage = "BenchmarkDecode", "millrace/ingester"

// decode runs it, each round with as many frames as a second takes.
func (b *bench) decode() {
	cmd := exec.Command("go", "test", "-run", "^$", "-bench", "^"+decodeBenchmark+"$", "-benchmem", "-cpu", "1", "-count", fmt.Sprint(b.o.rounds), decodePackage)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		b.report.Record(b.progress, "decode", ours, "m1", nil, fmt.Errorf("go test -bench %s %s: %w\n%s%s", decodeBenchmark, decodePackage, err, out, &stderr))
		return
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) == 0 || !strings.HasPrefix(f[0], decodeBenchmark) {
			continue
		}
		m := report.Metrics{}
		for i := 2; i+1 < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				continue
			}
			switch f[i+1] {
			case "ns/op":
				m[mNanoseconds] = v
			case "MB/s":
				m[mGBPerSec] = v / 1000
			case "allocs/op":
				m[mAllocs] = v
			}
		}
		b.report.Record(b.progress, "decode", ours, "m1", m, nil)
	}
}
