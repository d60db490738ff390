package statedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/millstream-go/millstream/internal/safefile"
	"github.com/millstream-go/millstream/internal/storage/lsm"
)

// The earlier format had a single file for a store partition, a database of bbolt. Nothing here reads
// such files. Besides it there may have been a file that was being written, and a marker.
const (
	earlierFile   = ".db"
	earlierNew    = ".db.new"
	earlierMarker = ".db.suspect"
)

// An EarlierFile is the file of a store partition in the earlier format.
type EarlierFile struct {
	Path     string
	Replaced bool // the partition has files of this format, too
}

// EarlierFiles returns the files that a store has in the earlier format. A file without a byte counts
// for nothing: it was made and never written.
func (d *Directory) EarlierFiles(store string) ([]EarlierFile, error) {
	if d.path == "" {
		return nil, nil
	}
	dir := filepath.Join(d.path, store)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var found []EarlierFile
	for _, e := range entries {
		name, is := strings.CutSuffix(e.Name(), earlierFile)
		if _, isPartition := parsePartition(name); !is || !isPartition || !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(dir, name)
		if info, err := e.Info(); err != nil || info.Size() > 0 {
			found = append(found, EarlierFile{Path: path + earlierFile, Replaced: lsm.Exists(path)})
		}
	}
	if err != nil {
		err = fmt.Errorf("state directory: %w", err)
	}
	return found, err
}

// replaceEarlier returns the function to be called after each flush of a store. When the store has a
// file of the earlier format, that function removes it after the first flush that succeeds: until
// then, the version that wrote the file may go on with it. Who opens the store has made sure that its
// rows can be restored from elsewhere.
func (d *Directory) replaceEarlier(n Name) (onFlush func(lsm.FlushInfo), err error) {
	path := d.storePath(n)
	there, err := safefile.Exists(path + earlierFile)
	if err != nil || !there {
		return d.options.OnFlush, err
	}
	// A process that ended between that flush and the removal, or a power loss that undid the removal.
	if lsm.Exists(path) {
		return d.options.OnFlush, removeEarlier(path)
	}
	return func(f lsm.FlushInfo) {
		if f.Err == nil {
			_ = removeEarlier(path) // what stays is removed when the store is opened again
		}
		if d.options.OnFlush != nil {
			d.options.OnFlush(f)
		}
	}, nil
}

// removeEarlier removes the files of the earlier format of the store partition at path. The last one is
// that by which they are recognised.
func removeEarlier(path string) (err error) {
	for _, suffix := range []string{earlierNew, earlierMarker, earlierFile} {
		if removeErr := os.Remove(path + suffix); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
	}
	return err
}
