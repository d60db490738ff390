package statedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/millstream-go/millstream/internal/runtime/offsetmeta"
	"github.com/millstream-go/millstream/internal/safefile"
	"github.com/millstream-go/millstream/internal/storage/lsm"
)

// typeFile has the type of a store's rows; docs/format/store.md describes it.
const typeFile = ".type"

const typeVersion = "1"

// SetType sets the type of a store's rows. It is called before the store is acquired for the first
// time. When the files have rows of another type, it returns that as was, and with remove it
// removes them; without, the files and what is known of them stay. Files of which nothing is known
// are taken to be right: an earlier version wrote them.
func (d *Directory) SetType(
	store string, storeType offsetmeta.Type, remove bool,
) (was offsetmeta.Type, changed bool, err error) {
	if d.path == "" {
		return was, false, nil
	}
	if err := checkName("store", store); err != nil {
		return was, false, err
	}
	dir := filepath.Join(d.path, store)
	path := filepath.Join(dir, typeFile)
	b, err := safefile.Read(path, longestText)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return was, false, fmt.Errorf("state directory: %w", err)
	}
	if was, err = parseType(string(b)); err != nil {
		return was, false, fmt.Errorf("state directory: %q: %w", path, err)
	}
	if changed = storeType.Changed(was); changed && !remove {
		return was, true, nil
	}
	// The files first, then the type: a crash in between leaves no file, which any type fits.
	if changed {
		err = d.removeFiles(dir)
	}
	if text := typeVersion + " " + storeType.Encode() + "\n"; err == nil && text != string(b) {
		if err = safefile.MakeDir(dir, !d.options.NoSync); err == nil {
			err = safefile.Write(path, []byte(text))
		}
	}
	if err != nil {
		err = fmt.Errorf("state directory: %w", err)
	}
	return was, changed, err
}

// parseType parses the content of typeFile. One that a power loss has cut short gives a type of
// which nothing is known.
func parseType(s string) (offsetmeta.Type, error) {
	line, whole := strings.CutSuffix(s, "\n")
	if !whole {
		return offsetmeta.Type{}, nil
	}
	version, text, _ := strings.Cut(line, " ")
	if version != typeVersion {
		return offsetmeta.Type{}, unknownVersion(fmt.Sprintf("%.20q", version), typeVersion)
	}
	return offsetmeta.DecodeType(text)
}

// removeFiles removes the files of a store, but for those that were moved aside. They are removed
// permanently before typeFile is written: after a power loss in between, files of the old type under
// the new type would be misread.
func (d *Directory) removeFiles(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		partition, earlier := strings.CutSuffix(f.Name(), earlierFile)
		if _, ok := parsePartition(partition); !ok {
			continue
		}
		path := filepath.Join(dir, partition)
		if earlier {
			err = errors.Join(err, removeEarlier(path))
		} else {
			err = errors.Join(err, lsm.Remove(path))
		}
	}
	if err == nil && !d.options.NoSync {
		err = safefile.SyncDir(dir)
	}
	return err
}
