package files

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Checkpoint is how far a source was read.
type Checkpoint struct {
	Source string `json:"source"` // its fingerprint
	Length int    `json:"length"` // bytes that this is of
	Path   string `json:"path"`   // where it was seen last

	Offset int64 `json:"offset"` // of a line: all before it is safe
	Clean  bool  `json:"clean"`  // nothing behind Offset has been taken
	// Places are, by topic, where in Kafka stands what was taken from Offset on: nothing
	// of it before these.
	Places map[string][]Place `json:"places,omitempty"`
	// Cuts are where the source was silent for so long, behind Offset, that what was open
	// was ended. Whoever reads it again ends it there too.
	Cuts []Cut     `json:"cuts,omitempty"`
	Seen time.Time `json:"seen"`
}

// Place is an offset of a partition.
type Place struct {
	Partition int32 `json:"partition"`
	Offset    int64 `json:"offset"`
}

// Cut is an end of what was open of a log, in front of the line at Offset.
type Cut struct {
	Offset int64  `json:"offset"`
	Log    string `json:"log"`
}

// State is the directory in which checkpoints are, a file for each source. It belongs to
// one process.
type State struct {
	dir  string
	lock *os.File
}

// OpenState takes the directory, and makes it if it is not there.
func OpenState(dir string) (*State, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("cannot make the directory of checkpoints (state_dir): %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot use the directory of checkpoints (state_dir): %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("cannot use the directory of checkpoints %q (state_dir): another millrace does; each needs one of its own", dir)
		}
		return nil, fmt.Errorf("cannot lock the directory of checkpoints %q (state_dir): %w", dir, err)
	}
	return &State{dir, lock}, nil
}

// Close gives the directory back.
func (s *State) Close() error { return s.lock.Close() }

const suffix = ".json"

// Load reads all checkpoints. One that cannot be read is an error: to begin anew would
// double what was read.
func (s *State) Load() ([]Checkpoint, error) {
	names, err := filepath.Glob(filepath.Join(s.dir, "*"+suffix))
	if err != nil {
		return nil, err
	}
	var all []Checkpoint
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("cannot read a checkpoint: %w", err)
		}
		var c Checkpoint
		if err := json.Unmarshal(text, &c); err != nil || c.Source+suffix != filepath.Base(name) || c.Length <= 0 || c.Offset < 0 {
			return nil, fmt.Errorf("cannot understand the checkpoint %q (%v): remove it, and its source is read again from its beginning", name, err)
		}
		all = append(all, c)
	}
	return all, nil
}

// Save puts a checkpoint in place of the source's last one. With sync it is on the disk
// when Save returns.
func (s *State) Save(c *Checkpoint, sync bool) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	name := filepath.Join(s.dir, c.Source+suffix)
	if err := s.write(name+".new", text, sync); err != nil {
		return fmt.Errorf("cannot save a checkpoint (state_dir): %w", err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		return fmt.Errorf("cannot save a checkpoint (state_dir): %w", err)
	}
	if sync {
		return s.syncDir()
	}
	return nil
}

func (s *State) write(name string, text []byte, sync bool) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err == nil && sync {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (s *State) syncDir() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
