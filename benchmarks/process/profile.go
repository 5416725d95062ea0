package process

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"millrace/benchmarks/report"
)

// profileFunctions is how many of them Top names.
const profileFunctions = 15

// Top reads the functions with the largest parts out of a profile of the program.
func Top(program, file string) ([]report.Share, error) {
	out, err := exec.Command("go", "tool", "pprof", "-top", fmt.Sprintf("-nodecount=%d", profileFunctions), program, file).Output()
	if err != nil {
		return nil, fmt.Errorf("cannot read the profile: %w", err)
	}
	var all []report.Share
	for line := range strings.Lines(string(out)) {
		// flat, flat%, sum%, cumulative, cumulative%, function
		f := strings.Fields(line)
		if len(f) < 6 {
			continue
		}
		percent, err := strconv.ParseFloat(strings.TrimSuffix(f[1], "%"), 64)
		if err != nil || !strings.HasSuffix(f[1], "%") {
			continue
		}
		all = append(all, report.Share{Function: f[5], Percent: percent})
	}
	return all, nil
}

// Profile fetches a profile from the program's HTTP server into a file.
func Profile(url, file string) error {
	res, err := http.Get(url)
	if err != nil {
		return fmt.Errorf("cannot get the profile: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("cannot get the profile: %s says %s", url, res.Status)
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, res.Body); err != nil {
		out.Close()
		return fmt.Errorf("cannot get the profile: %w", err)
	}
	return out.Close()
}
