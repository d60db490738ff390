// Package conformance replays what Kafka Streams 4.3 did: programs written once with its DSL and once with ours, records piped to
// both, and what comes out compared step by step. testdata/README.md describes the files, which Kafka Streams itself made.
//
//	go test -count=1 -v ./tests/conformance -vectors DIR
//
// replays all files of a directory and those below it; without -vectors, those that were copied here. Programs use the public packages
// alone. A program that is not written yet is listed in testdata/not-implemented.txt, which -rewrite renews.
package conformance
