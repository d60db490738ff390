package kafkatest

import (
	"context"
	_ "embed"
	"os"
	"path/filepath"
)

//go:embed pom.xml
var pom []byte

// libraries returns the directory with Kafka's jars. They come from Maven the first time (about 130
// MB) and are kept in the user's cache directory, under the pom's hash, so that another version is
// another directory.
func libraries(ctx context.Context) (string, error) {
	if err := installed("a real Kafka needs Java 17", "openjdk-17-jre-headless", "java"); err != nil {
		return "", err
	}
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	return mavenLibraries(ctx, cache, "kafka", pom)
}

// Cache returns the directory for what this package downloads and makes: millstream in the user's cache directory.
func Cache() (string, error) {
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "millstream"), err
}
