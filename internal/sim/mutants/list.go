package main

// mutants are the defects, each with what it does to whom.
var mutants = []mutant{
	{"offsets before acknowledgements", []edit{{
		// The offsets are committed while the records are on their way: a crash then loses what was not acknowledged.
		"internal/worker/commit.go",
		"		w.inFlight = w.cut()\n		w.advance()\n",
		"		if w.inFlight = w.cut(); w.inFlight != nil {\n			w.commitOffsets(w.inFlight)\n		}\n		w.advance()\n",
	}, {
		"internal/worker/commit.go",
		"	default:\n		w.commitOffsets(c)\n",
		"	default:\n",
	}, {
		// All else goes on as it should: it is settled when both are done.
		"internal/worker/commit.go",
		"		case c.answer != nil && c.poll():\n",
		"		case c.ticket == nil && c.keys == nil && c.answer != nil && c.poll():\n",
	}}},
	{"flush before settle", []edit{{
		// A file gets what Kafka may never accept.
		"store/bolt/epochs.go",
		"		e.seal(epoch)\n	}\n	e.level",
		"		e.seal(epoch)\n		t := e.tables[1]\n		t.Settle(epoch)\n		t.c, t.has = e.settled, e.has\n		e.enqueue(t)\n	}\n	e.level",
	}}},
	{"revoke without settle", []edit{{
		// The new owner processes again what the old one had not committed.
		"internal/worker/running.go",
		"				w.halt(r)\n				r.releasing = true\n				continue",
		"				w.halt(r)\n				r.releasing, r.undo = true, !r.cut\n				continue",
	}}},
	{"retry with a new sequence", []edit{{
		// A batch whose acknowledgement was lost is written twice.
		"internal/kafka/sarama/verdict.go",
		"	b.maybe = b.maybe || maybe\n",
		"	d.forget(o, b.ident)\n",
	}}},
	{"restore one record short", []edit{{
		"internal/changelog/restore.go",
		"l.changes(changes[:0], b, p.End)",
		"l.changes(changes[:0], b, p.End-1)",
	}}},
	{"changelog partitioned by its own hash", []edit{{
		"internal/changelog/log.go",
		"	if err := p.Send(ctx, l.TopicPartition, l.record(c)); err != nil {",
		"	to := kafka.TopicPartition{Topic: l.Topic, Partition: partition.ForKey(c.Key, 2)}\n	if err := p.Send(ctx, to, l.record(c)); err != nil {",
	}, {
		"internal/changelog/log.go",
		"	\"github.com/millstream-go/millstream/internal/kafka\"\n",
		"	\"github.com/millstream-go/millstream/internal/kafka\"\n	\"github.com/millstream-go/millstream/internal/partition\"\n",
	}}},
	{"close without commit", []edit{{
		// An App that stops drops what is processed, and not committed yet.
		"session.go",
		"	s.group.Stop()            // revokes all tasks, which settles them, and leaves\n",
		"	for _, w := range s.workers {\n		w.Lose(make(chan struct{}))\n	}\n	s.group.Stop()\n",
	}}},
	{"a zombie's write is accepted", []edit{{
		// A process whose session is over goes on writing,
		"internal/group/group.go",
		"func (g *Group) Allowed() error {\n",
		"func (g *Group) Allowed() error {\n	if true {\n		return nil\n	}\n",
	}, {
		// and nobody writes over what it wrote, neither when the next write finds it
		"internal/worker/commit.go",
		"	case len(t.Foreign)+len(c.foreign) > 0:\n",
		"	case false:\n",
	}, {
		// nor before the task is given up.
		"internal/worker/foreign.go",
		"	if r.looked || r.undo",
		"	if true || r.looked || r.undo",
	}}},
	{"a global checkpoint is ahead of its rows", []edit{{
		// What was queued when a process was killed is never read again.
		"internal/global/loop.go",
		"		c.Offsets[p] = f.position(p)\n",
		"		c.Offsets[p] = f.position(p) + 3\n",
	}}},
	{"a revocation holds up what is kept", []edit{{
		"internal/worker/running.go",
		"func (w *Worker) Release(ids ...graph.TaskID) {\n	w.command(func() {\n",
		"func (w *Worker) Release(ids ...graph.TaskID) {\n	w.command(func() {\n		time.Sleep(5 * time.Second)\n",
	}}},
}
