package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// restoreEnds corrects a data directory, so that partitions whose records have all been deleted
// continue at the offset where they ended, as Kafka's do. kfake reads the end of a partition from
// its segments, and begins one that has none at 0 again: what is written then lies before the
// offsets that groups have committed, and is never delivered. With an empty segment, kfake reads
// the end from its own snapshot.
func restoreEnds(dir string) error {
	partitions := filepath.Join(dir, "partitions")
	entries, err := os.ReadDir(partitions)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if err := restoreEnd(filepath.Join(partitions, e.Name(), "snapshot.json")); err != nil &&
			!errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// restoreEnd corrects the partition of a snapshot. It leaves snapshots alone that name a segment,
// or that it does not understand.
func restoreEnd(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var snapshot map[string]json.RawMessage // kfake's fields that are of no concern here stay as they are
	var end int64
	var segments []struct{}
	if json.Unmarshal(b, &snapshot) != nil || json.Unmarshal(snapshot["high_watermark"], &end) != nil || end == 0 ||
		json.Unmarshal(snapshot["segments"], &segments) != nil || len(segments) > 0 {
		return nil
	}
	// The segment before the snapshot that names it: a crash in between leaves a file that the next
	// start finds.
	f, err := os.OpenFile(filepath.Join(filepath.Dir(path), fmt.Sprintf("%d.dat", end)), os.O_CREATE|os.O_EXCL, 0o644)
	switch {
	case err == nil:
		err = f.Close()
	case errors.Is(err, fs.ErrExist): // from an earlier start, since when nothing was written
		err = nil
	}
	if err != nil {
		return err
	}
	snapshot["segments"] = fmt.Appendf(nil, `[{"base_offset":%d,"size":0}]`, end)
	if b, err = json.Marshal(snapshot); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}
