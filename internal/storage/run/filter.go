package run

import (
	"encoding/binary"
	"math/bits"
)

// A filter is a blocked Bloom filter: a key has seven bits, all in one block of 64 bytes, which is a
// cache line. At ten bits a key it lets about one key in a hundred pass that are not in the file.
const (
	filterBits  = 10 // a key
	blockSize   = 64
	blockBits   = blockSize * 8
	probes      = 7
	probeBits   = 9 // of the hash for each probe: 2^9 bits are a block
	probeMask   = 1<<probeBits - 1
	hashFirst   = 0x9e3779b97f4a7c15
	hashWord    = 0xd6e8feb86659fd93
	hashLast    = 0xa0761d6478bd642f
	hashProbing = 0x9fb21c651e98df25
)

// Hash returns the hash by which filters know a key. It is part of the format.
func Hash(key []byte) uint64 {
	h := uint64(len(key)) * hashFirst
	for len(key) >= 8 {
		h = fold(h^binary.LittleEndian.Uint64(key), hashWord)
		key = key[8:]
	}
	if len(key) > 0 {
		var last [8]byte
		copy(last[:], key)
		h = fold(h^binary.LittleEndian.Uint64(last[:]), hashWord)
	}
	return fold(h^hashFirst, hashLast)
}

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// blocksFor returns how many blocks a filter of n keys has.
func blocksFor(n int) uint32 { return uint32(max(1, (n*filterBits+blockBits-1)/blockBits)) }

// blockOf returns the block of a hash.
func blockOf(hash uint64, blocks uint32) uint64 {
	hi, _ := bits.Mul64(hash, uint64(blocks))
	return hi
}

// setBits sets the bits of a hash in its block.
func setBits(block []byte, hash uint64) {
	for x, i := hash*hashProbing, 0; i < probes; x, i = x>>probeBits, i+1 {
		bit := x & probeMask
		block[bit/8] |= 1 << (bit % 8)
	}
}

// hasBits reports whether the block has all bits of a hash. It looks at all of them: which one is
// missing cannot be foreseen, and a branch that the processor foresees wrongly costs more than the
// rest.
func hasBits(block []byte, hash uint64) bool {
	b := (*[blockSize]byte)(block)
	all := uint64(1)
	for x, i := hash*hashProbing, 0; i < probes; x, i = x>>probeBits, i+1 {
		bit := x & probeMask
		all &= binary.LittleEndian.Uint64(b[bit/64*8:]) >> (bit % 64)
	}
	return all != 0
}
