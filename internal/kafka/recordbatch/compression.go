package recordbatch

import "fmt"

// Compression is how the records of a batch are compressed, as the batch's attributes number it.
type Compression int8

// What Kafka knows.
const (
	None Compression = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

var compressionNames = [...]string{"none", "gzip", "snappy", "lz4", "zstd"}

// ParseCompression returns the compression of a name, as "zstd".
func ParseCompression(name string) (Compression, error) {
	for c, n := range compressionNames {
		if n == name {
			return Compression(c), nil
		}
	}
	return None, fmt.Errorf("%q is not one of none, gzip, snappy, lz4, zstd", name)
}

// String returns the name, as "zstd".
func (c Compression) String() string {
	if c < None || c > Zstd {
		return fmt.Sprintf("number %d", int8(c))
	}
	return compressionNames[c]
}
