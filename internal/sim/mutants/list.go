package main

// mutants are the defects, each with what it does to whom.
var mutants = []mutant{
	{"offsets before acknowledgements", []edit{{
		// A crash after the commit loses what was not acknowledged.
		"internal/worker/commit.go",
		"	c.ticket = w.producer.Cut()\n	w.cfg.Hook.At(crashpoint.CutDone)",
		"	w.producer.Cut()\n	c.ticket = &kafka.Ticket{Done: make(chan struct{})}\n	close(c.ticket.Done)\n	w.cfg.Hook.At(crashpoint.CutDone)",
	}}},
	{"flush before settle", []edit{{
		// A file gets what Kafka may never accept.
		"internal/worker/commit.go",
		"		e.number, err = e.log.Cut(ctx, p)\n		return err",
		"		if e.number, err = e.log.Cut(ctx, p); err == nil {\n			e.log.Settle(e.number, nil)\n		}\n		return err",
	}}},
	{"revoke without settle", []edit{{
		// The new owner processes again what the old one had not committed.
		"internal/worker/running.go",
		"				w.halt(r)\n				r.releasing = true\n				continue",
		"				w.halt(r)\n				r.releasing, r.undo, r.cut = true, true, false\n				continue",
	}}},
	{"retry with a new sequence", []edit{{
		// A batch whose acknowledgement was lost is written twice.
		"internal/kafka/sarama/verdict.go",
		"	b.maybe = b.maybe || maybe\n",
		"	d.forget(o, b.ident)\n",
	}}},
	{"restore one record short", []edit{{
		"internal/changelog/restore.go",
		"appendChanges(changes[:0], b, p.End)",
		"appendChanges(changes[:0], b, p.End-1)",
	}}},
	{"changelog partitioned by its own hash", []edit{{
		"internal/changelog/log.go",
		"		l.sends++\n		if err := p.Send(ctx, l.TopicPartition, record(c)); err != nil {\n			return fmt.Errorf(\"changelog of store %q, %s: %w\", l.Store, l.TopicPartition, err)\n		}\n		return nil\n	})",
		"		l.sends++\n		to := kafka.TopicPartition{Topic: l.Topic, Partition: partition.ForKey(c.Key, 2)}\n		return p.Send(ctx, to, record(c))\n	})",
	}, {
		"internal/changelog/log.go",
		"	\"github.com/millstream-go/millstream/internal/kafka\"\n",
		"	\"github.com/millstream-go/millstream/internal/kafka\"\n	\"github.com/millstream-go/millstream/internal/partition\"\n",
	}}},
	{"close without commit", []edit{{
		// An App that stops leaves its group first.
		"internal/group/own.go",
		"	g.revoke(slices.Collect(maps.Keys(l.owned)))\n",
		"	_ = slices.Collect(maps.Keys(l.owned))\n	clear(l.owned)\n	g.publish()\n",
	}}},
	{"a zombie's write is accepted", []edit{{
		// A process whose session is over goes on writing,
		"internal/group/group.go",
		"func (g *Group) Allowed() error {\n",
		"func (g *Group) Allowed() error {\n	if true {\n		return nil\n	}\n",
	}, {
		// and nobody writes over what it wrote.
		"internal/worker/commit.go",
		"	case len(t.Foreign) > 0:\n",
		"	case false:\n",
	}}},
}
