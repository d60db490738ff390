// Package millstream runs topologies: it is Kafka Streams for Go, a library that makes a service
// process streams of records with typed operators and local state, with Kafka to distribute the
// work.
//
//	app, err := millstream.New(top, millstream.Config{ApplicationID: "word-counts", Brokers: []string{"localhost:9092"}})
//	if err != nil {
//		return err
//	}
//	return app.Run(ctx) // until ctx ends; everything processed is committed then
//
// Package stream builds topologies, with packages table and join; package testdriver tests them
// without Kafka.
package millstream
