package kafkatest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// CompileJava compiles the .java files at the top of files, with the libraries that Maven gets for the pom.xml beside
// them, and returns the class path of the program. What it downloads and what it makes are kept in the directory
// cache, under the hash of what they are made of. Without a JDK and Maven it returns an error that says what to
// install.
func CompileJava(ctx context.Context, cache string, files fs.FS) (classPath string, err error) {
	if err := installed("Kafka Streams needs a JDK 17", "openjdk-17-jdk-headless", "javac"); err != nil {
		return "", err
	}
	pom, err := fs.ReadFile(files, "pom.xml")
	if err != nil {
		return "", err
	}
	libs, err := mavenLibraries(ctx, cache, "libraries", pom)
	if err != nil {
		return "", err
	}
	sources, err := fs.Glob(files, "*.java")
	if err != nil {
		return "", err
	}
	content := pom
	for _, name := range sources {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return "", err
		}
		content = append(content, text...)
	}
	jars := filepath.Join(libs, "*")
	classes, err := cached(cache, "classes", content, func(dir string) error {
		args := []string{"-encoding", "UTF-8", "-Xlint:all,-serial,-try", "-cp", jars, "-d", "."}
		if err := os.CopyFS(dir, files); err != nil {
			return err
		}
		return run(ctx, dir, "javac", append(args, sources...)...)
	})
	return classes + string(os.PathListSeparator) + jars, err
}

// mavenLibraries returns the directory with the jars that a pom asks for.
func mavenLibraries(ctx context.Context, cache, name string, pom []byte) (string, error) {
	if err := installed("Kafka's libraries come with Maven", "maven", "mvn"); err != nil {
		return "", err
	}
	return cached(cache, name, pom, func(dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "pom.xml"), pom, 0o644); err != nil {
			return err
		}
		return run(ctx, dir, "mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=.")
	})
}

func installed(why, debian, tool string) error {
	if _, err := exec.LookPath(tool); err != nil {
		return fmt.Errorf("%s: %w (on Debian: apt-get install %s)", why, err, debian)
	}
	return nil
}

func run(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// cached returns the directory that was made of content. It is made under another name and renamed, so that what has
// the name is complete, also when two processes make it at the same time.
func cached(cache, name string, content []byte, fill func(dir string) error) (string, error) {
	dir := filepath.Join(cache, fmt.Sprintf("%s-%x", name, sha256.Sum256(content))[:len(name)+17])
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(cache, "making-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := fill(tmp); err != nil {
		return "", err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, dir); err != nil {
		// Another process may have been faster; what it has made is the same.
		if _, there := os.Stat(dir); there != nil {
			return "", err
		}
	}
	return dir, nil
}
