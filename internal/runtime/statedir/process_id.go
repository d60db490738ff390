package statedir

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"

	"github.com/millstream-go/millstream/internal/safefile"
)

// processFile has the process id; docs/format/store.md describes it.
const processFile = ".process"

// longestText is more than processFile and typeFile ever have.
const longestText = 1 << 20

// ProcessID returns the id by which the group tells this member from those with other state
// directories. It is stored in the directory, so that a member that comes back is known as the one
// that has the state. Without a directory it is another one each time.
func ProcessID(dir string) (id [16]byte, err error) {
	if dir == "" {
		_, err = rand.Read(id[:])
		return id, err
	}
	path := filepath.Join(dir, processFile)
	b, err := safefile.Read(path, longestText)
	if err == nil {
		id, ok, err := parseProcessID(b)
		if err != nil {
			return id, fmt.Errorf("state directory: %q: %w", path, err)
		}
		if ok {
			return id, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return id, fmt.Errorf("state directory: %w", err)
	}
	// There is no file, or one that was cut short.
	if _, err := rand.Read(id[:]); err != nil {
		return id, err
	}
	if err := safefile.Write(path, formatProcessID(id)); err != nil {
		return id, fmt.Errorf("state directory: %w", err)
	}
	return id, nil
}

// processVersion is that of the file.
const processVersion = 1

func formatProcessID(id [16]byte) []byte { return fmt.Appendf(nil, "%d %x\n", processVersion, id) }

// unknownVersion returns the error for a file of a version that this program does not know.
func unknownVersion(version, known string) error {
	return fmt.Errorf("it has version %s, and this program knows version %s: a newer version of Millstream wrote it, "+
		"or it is damaged; run that version, or set another Config.StateDir, into which stores are restored",
		version, known)
}

// parseProcessID is the inverse of formatProcessID. A file that was cut short, as by a loss of
// power, is not ok, and no error: the member gets another id then, which costs the group a move of
// its tasks, and not a start that somebody has to mend.
func parseProcessID(b []byte) (id [16]byte, ok bool, err error) {
	version, digits := 0, ""
	if n, _ := fmt.Sscan(string(b), &version, &digits); n == 2 && version != processVersion {
		return id, false, unknownVersion(strconv.Itoa(version), strconv.Itoa(processVersion))
	}
	n, bad := hex.Decode(id[:], []byte(digits[:min(len(digits), 2*len(id))]))
	return id, bad == nil && n == len(id), nil
}
