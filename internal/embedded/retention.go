package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// segment is one file of a partition's log.
type segment struct {
	topic     string
	partition int32
	base, end int64 // offsets: the first one, and the first one of the next segment
	bytes     int64
	modified  time.Time
}

// retain applies retention until ctx ends.
func (b *Broker) retain(ctx context.Context) {
	tick := time.NewTicker(b.options.RetentionInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if err := b.applyRetention(now); err != nil {
				b.options.Logger.Warn("cannot apply retention to the broker's log", "error", err)
			}
		}
	}
}

// applyRetention deletes whole segments, the oldest first: those that are too
// old, and as many as the log is too big. Never the segment in use, never one that
// reaches above the partition's low-water mark, and never one of a compacted topic.
func (b *Broker) applyRetention(now time.Time) error {
	closed, total, err := readSegments(filepath.Join(b.logDir, "partitions"))
	if err != nil {
		return err
	}
	slices.SortFunc(closed, func(a, b segment) int {
		return cmp.Or(a.modified.Compare(b.modified), cmp.Compare(a.base, b.base))
	})
	floor := b.lowWaterMarks()
	compacted := map[string]bool{}
	type partition struct {
		topic string
		n     int32
	}
	held := make(map[partition]bool) // an older segment stays, so a newer one must
	for _, s := range closed {
		key := partition{s.topic, s.partition}
		if _, looked := compacted[s.topic]; !looked {
			compacted[s.topic] = b.compacted(s.topic)
		}
		tooOld := now.Sub(s.modified) > b.options.RetentionAge
		tooBig := b.options.RetentionBytes > 0 && total > b.options.RetentionBytes
		if held[key] || compacted[s.topic] || !tooOld && !tooBig || s.end > floor(s.topic, s.partition) {
			held[key] = true
			continue
		}
		err := b.cluster.DeleteRecords(s.topic, s.partition, s.end)
		switch {
		case errors.Is(err, kerr.OffsetOutOfRange), errors.Is(err, kerr.UnknownTopicOrPartition):
			held[key] = true // deleted by somebody else in the meantime
		case err != nil:
			return fmt.Errorf("cannot delete records of %s/%d up to offset %d: %w", s.topic, s.partition, s.end, err)
		default:
			total -= s.bytes
			b.options.Logger.Debug("deleted records of the broker's log", "topic", s.topic, "partition", s.partition, "up_to", s.end)
		}
	}
	return nil
}

// compacted tells whether a topic keeps the last record of each key for ever. The broker
// never compacts, so that such a log grows; it is never shortened either.
func (b *Broker) compacted(topic string) bool {
	t := b.cluster.TopicInfo(topic)
	if t == nil {
		return false
	}
	policy := t.Configs["cleanup.policy"]
	return policy != nil && strings.Contains(*policy, "compact")
}

// lowWaterMarks returns, by partition, the lowest offset that must stay; -1
// when that is not known.
func (b *Broker) lowWaterMarks() func(topic string, partition int32) int64 {
	if b.options.RetentionFloor != nil {
		return b.options.RetentionFloor
	}
	group := b.cluster.GroupInfo(b.options.RetentionGroup)
	return func(topic string, partition int32) int64 {
		if group == nil {
			return -1
		}
		commit, ok := group.Commits[topic][partition]
		if !ok {
			return -1
		}
		return commit.Offset
	}
}

// readSegments lists all segments but the ones in use, and the size of all. The
// broker offers no such list; its files are DIR/TOPIC-PARTITION/BASE.dat.
func readSegments(dir string) (closed []segment, total int64, err error) {
	partitions, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil // no record yet
	}
	if err != nil {
		return nil, 0, err
	}
	for _, entry := range partitions {
		topic, partition, ok := parsePartitionDir(entry.Name())
		if !ok {
			continue
		}
		files, err := os.ReadDir(filepath.Join(dir, entry.Name()))
		if err != nil {
			continue // the topic is being deleted
		}
		var segments []segment
		for _, file := range files {
			name, isLog := strings.CutSuffix(file.Name(), ".dat")
			base, err := strconv.ParseInt(name, 10, 64)
			if !isLog || err != nil {
				continue
			}
			info, err := file.Info()
			if err != nil {
				continue
			}
			segments = append(segments, segment{topic: topic, partition: partition, base: base, bytes: info.Size(), modified: info.ModTime()})
			total += info.Size()
		}
		slices.SortFunc(segments, func(a, b segment) int { return cmp.Compare(a.base, b.base) })
		for i := 0; i+1 < len(segments); i++ {
			segments[i].end = segments[i+1].base
			closed = append(closed, segments[i])
		}
	}
	return closed, total, nil
}

func parsePartitionDir(name string) (topic string, partition int32, ok bool) {
	i := strings.LastIndexByte(name, '-')
	if i < 0 {
		return "", 0, false
	}
	n, err := strconv.ParseInt(name[i+1:], 10, 32)
	if err != nil {
		return "", 0, false
	}
	topic, err = url.PathUnescape(name[:i])
	return topic, int32(n), err == nil
}
