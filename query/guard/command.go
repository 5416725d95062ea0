package guard

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"millrace/internal/config"
)

// saidBytes of what a command writes are in the error when it fails.
const saidBytes = 512

// newCommand runs a program with the event on its standard input. Its environment is ours.
func newCommand(c *config.Effect) func(context.Context, Event) error {
	return func(ctx context.Context, ev Event) error {
		body, err := json.Marshal(ev)
		if err != nil {
			return fmt.Errorf("cannot write the input of a command: %w", err)
		}
		cmd := exec.CommandContext(ctx, c.Command[0], c.Command[1:]...)
		said := &head{}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(append(body, '\n')), said, said
		cmd.Env = append(os.Environ(), "MILLRACE_ACTION="+ev.Action, "MILLRACE_ID="+ev.ID)
		ownGroup(cmd)
		cmd.WaitDelay = time.Second
		if err := cmd.Run(); err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			text := strings.TrimSpace(said.String())
			if text != "" {
				return fmt.Errorf("cannot run command %q of effect %q: %w: %q", c.Command[0], c.Name, err, text)
			}
			return fmt.Errorf("cannot run command %q of effect %q: %w", c.Command[0], c.Name, err)
		}
		return nil
	}
}

// head keeps the beginning of what is written.
type head struct{ bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	if room := saidBytes - h.Len(); room > 0 {
		h.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
