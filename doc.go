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
// Config has what decides how the App runs: Guarantee for at least once or exactly once, Standbys for
// copies of the state on other members, OnTaskError for what happens when a task fails, InstanceID for
// restarts without a rebalance. App has Stats, Tasks and Standbys, Live and Ready for probes, Pause and
// Resume; Config.Events are functions that are called when something happens.
//
// Package stream builds topologies, with packages table and join; package testdriver tests them
// without Kafka.
package millstream
