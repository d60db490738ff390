package recordbatch

// XerialMagic begins what snappy-java writes.
var XerialMagic = xerialMagic

// Decompress decompresses with a decompressor of its own.
func Decompress(c Compression, b []byte, limit int) ([]byte, error) {
	var d decompressor
	defer d.close()
	return d.decompress(c, b, limit)
}
