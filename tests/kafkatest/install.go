package kafkatest

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed pom.xml
var pom []byte

// libraries returns the directory with Kafka's jars. They come from Maven the first time (about 130
// MB) and are kept in the user's cache directory, under the pom's hash, so that another version is
// another directory.
func libraries(ctx context.Context) (string, error) {
	for _, tool := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("a real Kafka needs Java 17 and Maven: %w (on Debian: apt-get install openjdk-17-jre-headless maven)", err)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "millstream", fmt.Sprintf("kafka-%x", sha256.Sum256(pom))[:20])
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	return dir, download(ctx, dir)
}

// download fills a directory beside dir and renames it in the end: what has the name is complete,
// also when two processes do it at the same time.
func download(ctx context.Context, dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "download-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.WriteFile(filepath.Join(tmp, "pom.xml"), pom, 0o644); err != nil {
		return err
	}
	libs := filepath.Join(tmp, "libs")
	mvn := exec.CommandContext(ctx, "mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory="+libs)
	mvn.Dir = tmp
	if out, err := mvn.CombinedOutput(); err != nil {
		return fmt.Errorf("download Kafka with Maven: %w\n%s", err, out)
	}
	// Another process may have been faster; what it has downloaded is the same.
	if err := os.Rename(libs, dir); err != nil {
		if _, there := os.Stat(dir); there != nil {
			return err
		}
	}
	return nil
}
