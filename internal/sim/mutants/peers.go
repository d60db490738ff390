package main

// peers are the defects of other libraries, as changes of our code: docs/testing.md says what each did to its users. Each makes the test
// beside it fail.
var peers = []peer{
	{"goka 1: offsets before acknowledgements", ".", "^(TestSlowOutputPartitionLosesNothing)$", []edit{
		{"internal/worker/commit.go", "\tc.ticket = w.producer.Cut()\n\tw.cfg.Hook.At(crashpoint.CutDone)", "\tw.producer.Cut()\n\tw.commitOffsets(c)\n\tw.cfg.Hook.At(crashpoint.CutDone)"},
	}},
	{"goka 3: records without value commit those before them", ".", "^(TestDroppedRecordsCommitNothingBeforeThem)$", []edit{
		{"internal/worker/commit.go", "\tc.ticket = w.producer.Cut()\n\tw.cfg.Hook.At(crashpoint.CutDone)", "\tw.producer.Cut()\n\tw.commitOffsets(c)\n\tw.cfg.Hook.At(crashpoint.CutDone)"},
	}},
	{"goka 4: the changelog by a hash of the key", ".", "^(TestStateIsFoundWhereverKeysAre)$", []edit{
		{"internal/changelog/log.go", "\"github.com/millstream-go/millstream/internal/kafka\"\n", "\"github.com/millstream-go/millstream/internal/kafka\"\n\t\"github.com/millstream-go/millstream/internal/partition\"\n"},
		{"internal/changelog/log.go", "p.Send(ctx, l.TopicPartition, l.record(c))", "p.Send(ctx, kafka.TopicPartition{Topic: l.Topic, Partition: partition.ForKey(c.Key, 4)}, l.record(c))"},
	}},
	{"goka 5: a restore that waits for a record at the end", ".", "^(TestTopicsThatEndInAMarker)$", []edit{
		{"internal/changelog/restore.go", "next := min(b.Next, p.End)", "next := p.Position\n\t\t\tif n := len(b.Records); n > 0 {\n\t\t\t\tnext = min(b.Records[n-1].Offset+1, p.End)\n\t\t\t}"},
	}},
	{"goka 5: an input that ends at its last record", ".", "^(TestTopicsThatEndInAMarker)$", []edit{
		{"internal/task/queue.go", "\t\tq.position = max(q.position, b.Next)\n", ""},
	}},
	{"goka 6: a rebalance that stops everything", ".", "^(TestMembersComeAndGo)$", []edit{
		{"internal/worker/running.go", "func (w *Worker) Release(ids ...graph.TaskID) {\n\tw.command(func() {\n", "func (w *Worker) Release(ids ...graph.TaskID) {\n\tw.command(func() {\n\t\ttime.Sleep(5 * time.Second)\n"},
	}},
	{"goka 7: a store in memory that takes quadratic time", "./store/memory", "^(TestManyKeysTakeLinearTime)$", []edit{
		{"store/memory/index.go", "func hashOf(key []byte) uint32 { return uint32(maphash.Bytes(seed, key) >> 32) }", "func hashOf(key []byte) uint32 { return uint32(maphash.Bytes(seed, key)>>32) & 0xff }"},
	}},
	{"goka 8: offset 0 is not kept", ".", "^(TestCheckpointsCountEveryRecord)$", []edit{
		{"internal/changelog/log.go", "\tl.Engine.Settle(epoch, l.checkpoint(l.end)) // keeps 3", "\tif l.end == 1 {\n\t\tl.end = 0\n\t}\n\tl.Engine.Settle(epoch, l.checkpoint(l.end)) // keeps 3"},
	}},
	{"goka 8: deletions are not in the changelog", ".", "^(TestCheckpointsCountEveryRecord)$", []edit{
		{"internal/changelog/log.go", "Engine.Cut(func(c store.Change) error {\n", "Engine.Cut(func(c store.Change) error {\n\t\tif c.Value == nil {\n\t\t\treturn nil\n\t\t}\n"},
	}},
	{"goka 8: a range without its end", "./store", "^TestRanges$", []edit{
		{"store/range.go", "return c > 0 || c == 0 && r.ToBefore", "return c >= 0"},
	}},
	{"goka 8: an open end is a prefix", "./store", "^TestRanges$", []edit{
		{"store/range.go", "\tif r.To == nil {\n\t\treturn false\n\t}\n", "\tif r.To == nil {\n\t\treturn !bytes.HasPrefix(key, r.From)\n\t}\n"},
	}},
	{"goka 9: null is empty", "./internal/kafka/sarama", "^(TestNullAndEmptyStayApart)$", []edit{
		{"internal/kafka/sarama/chunk.go", "\tif field == nil {", "\tif len(field) == 0 {"},
	}},
	{"goka 9: a panic of a user ends the process", ".", "^(TestPanicStopsTheAppAndCommitsTheRest)$", []edit{
		{"internal/task/process.go", "\tdefer t.guard(&err)\n\tt.open = false\n\tfor before", "\tt.open = false\n\tfor before"},
	}},
	{"goka 10: a stop that gives up in silence", ".", "^(TestSlowOutputPartitionLosesNothing)$", []edit{
		{"session.go", "\t\ts.fail(errStopTimeout)\n", ""},
	}},
	{"goka 10: a setting of the process", "./internal/arch", "^(TestLibraryLeavesProcessWideSettingsAlone)$", []edit{
		{"internal/kafka/sarama/config.go", "\tw := sarama.NewConfig()\n", "\tw := sarama.NewConfig()\n\tsarama.MaxRequestSize = 1 << 20\n"},
	}},
	{"goka 10: names that Apps share", ".", "^(TestTwoAppsInOneProcess)$", []edit{
		{"internal/graph/graph.go", "return application + \"-\" + store + \"-changelog\"", "return \"app-\" + store + \"-changelog\""},
	}},
	{"birdayz 1: two partitions, one file", ".", "^(TestCountsSurviveRestarts)$", []edit{
		{"internal/state/directory.go", "strconv.Itoa(int(n.Partition))+\".db\"", "strconv.Itoa(0*int(n.Partition))+\".db\""},
	}},
	{"birdayz 2: a changelog that is caught up is waited for", ".", "^(TestNothingToRestoreTakesNoTime)$", []edit{
		{"internal/changelog/restore.go", "if from < x.End { //", "if from <= x.End { //"},
		{"internal/changelog/restore.go", "\tfor p.Position < p.End {\n\t\tbatches", "\tfor p.Position <= p.End {\n\t\tbatches"},
	}},
	{"birdayz 3: what was aborted is restored", ".", "^(TestTopicsThatEndInAMarker)$", []edit{
		{"roles.go", "s.restorer, err = s.client.Fetcher(kafka.FetchConfig{Isolation: kafka.ReadCommitted})", "s.restorer, err = s.client.Fetcher(kafka.FetchConfig{Isolation: kafka.ReadUncommitted})"},
	}},
	{"birdayz 3: what is not accepted reaches the file", "./store/bolt", "^(TestFlushWritesWhatIsSettledAndNothingElse)$", []edit{
		{"store/bolt/close.go", "\tif !unsettled {", "\tif unsettled || !unsettled {"},
	}},
	{"birdayz 4: a stop without a commit", ".", "^(TestGracefulStopCommitsAll)$", []edit{
		{"internal/worker/running.go", "\treturn r.releasing && (r.undo || !r.cut && (!r.dirty || r.err != nil))", "\treturn r.releasing"},
	}},
	{"birdayz 4: commits of idle streams come late", ".", "^(TestIdleAppCommitsSoon)$", []edit{
		{"internal/worker/commit.go", "\tif idle.Before(at) {\n\t\treturn idle\n\t}\n", "\t_ = idle\n"},
	}},
	{"birdayz 6: a revocation that is not waited for", ".", "^(TestStateMovesWithItsTask|TestMembersComeAndGo)$", []edit{
		{"manager.go", "\tw := m.await(ids, func() {\n\t\tm.hookThen(crashpoint.RevokeSettled, settled)\n\t})", "\tm.hookThen(crashpoint.RevokeSettled, settled)\n\tw := m.await(ids, func() {})"},
	}},
	{"birdayz 7: sinks drop headers", ".", "^(TestHeadersAndTimesGetThrough)$", []edit{
		{"internal/task/sink.go", "\treturn s.t.cfg.Out.Send(topic, to, r)", "\tr.Headers = nil\n\treturn s.t.cfg.Out.Send(topic, to, r)"},
	}},
	{"birdayz 7: sinks drop times", ".", "^(TestHeadersAndTimesGetThrough)$", []edit{
		{"internal/task/sink.go", "\treturn s.t.cfg.Out.Send(topic, to, r)", "\tr.Time = 1\n\treturn s.t.cfg.Out.Send(topic, to, r)"},
	}},
	{"birdayz 7: topics are not created", "./internal/topics", "^TestInternalTopicsAreConfiguredAsInKafkaStreams$", []edit{
		{"internal/topics/ensure.go", "\t\tif err := p.admin.CreateTopic(ctx, s.TopicSpec); err != nil", "\t\tif err := error(nil); err != nil"},
	}},
	{"birdayz 7: punctuations are not called", "./internal/task", "^TestStreamTimePunctuationsStandOnAGridFromZero$", []edit{
		{"internal/task/process.go", "\treturn t.punctuate(graph.StreamTime, t.cfg.Clock.time)", "\treturn nil"},
	}},
	{"birdayz 8: a test that skips", "./internal/arch", "^(TestNoTestSkips)$", []edit{
		{"app_test.go", "func TestPassThrough(t *testing.T) {\n", "func TestPassThrough(t *testing.T) {\n\tt.Skip(\"later\")\n"},
	}},
	{"gmbyapa: every start restores everything", ".", "^(TestCountsSurviveRestarts)$", []edit{
		{"internal/changelog/restore.go", "\tc, ok := l.Engine.Checkpoint()\n", "\tc, _ := l.Engine.Checkpoint()\n\tok := false\n"},
	}},
	{"gmbyapa: every task is closed at a rebalance", ".", "^(TestMembersComeAndGo)$", []edit{
		{"manager.go", "func (m *manager) revoke(ids []graph.TaskID, settled chan struct{}) {\n", "func (m *manager) revoke(ids []graph.TaskID, settled chan struct{}) {\n\tfor _, w := range m.s.workers {\n\t\tw.Release(*m.runs.Load()...)\n\t}\n"},
	}},
	{"gmbyapa: a poison record takes others with it", ".", "^(TestPoisonRecordsHoldUpNobody)$", []edit{
		{"internal/task/fail.go", "\tcase failure.ActSkip:\n", "\tcase failure.ActSkip:\n\t\tt.cfg.Failure(failure.Report{})\n\t\tt.done(t.byTP[t.current.TopicPartition])\n"},
	}},
	{"gmbyapa: at least once with transactions", ".", "^(TestAtLeastOnceUsesNoTransactions)$", []edit{
		{"internal/kafka/sarama/dispatch.go", "&sarama.InitProducerIDRequest{Version", "&sarama.InitProducerIDRequest{TransactionalID: new(\"tx\"), Version"},
	}},
	{"gmbyapa: errors of a restore are panics", ".", "^(TestRestoreThatFailsIsAnError)$", []edit{
		{"manager.go", "\t\tif !e.dropping && m.s.ctx.Err() == nil && !errors.Is(err, worker.ErrLost) {\n\t\t\tm.s.fail(err)", "\t\tif !e.dropping && m.s.ctx.Err() == nil && !errors.Is(err, worker.ErrLost) {\n\t\t\tpanic(err)"},
	}},
	{"gmbyapa: a join ignores a filter", "./join", "^(TestStreamTable)$", []edit{
		{"table/filter.go", "return v, row && f(k, v) == want", "_ = f(k, v) == want\n\t\treturn v, row"},
	}},
	{"tryfix: a setting without effect", ".", "^(TestSettingsReachTheBrokers)$", []edit{
		{"roles.go", "Rack: s.cfg.Rack, TLS", "TLS"},
	}},
	{"tryfix: a field that nothing reads", "./internal/arch", "^(TestEveryFieldOfConfigIsUsed)$", []edit{
		{"config.go", "\t// Rack names where", "\t// Expiry is accepted.\n\tExpiry time.Duration\n\t// Rack names where"},
	}},
	{"gmbyapa: the changelog has the time of writing", ".", "^(TestChangelogIsJavas)$", []edit{
		{"internal/changelog/log.go", "Time: max(c.Time, 0)}", "Time: time.Now().UnixMilli()}"},
	}},
	{"hugolhafner: the log has records in it", ".", "^(TestLogsHoldNoRecords)$", []edit{
		{"internal/task/process.go", "\tq := t.ready.pop()\n", "\tq := t.ready.pop()\n\tt.cfg.Logger.Info(\"record\", \"key\", string(q.head.Key))\n"},
	}},
	{"list: a failing produce, then a restart", ".", "^(TestFailingProduceThenRestart)$", []edit{
		{"internal/worker/commit.go", "\tc.ticket = w.producer.Cut()\n\tw.cfg.Hook.At(crashpoint.CutDone)", "\tw.producer.Cut()\n\tw.commitOffsets(c)\n\tw.cfg.Hook.At(crashpoint.CutDone)"},
	}},
	{"list: a crash, and a restore that is one record short", ".", "^(TestCrashAtEveryPoint)$", []edit{
		{"internal/changelog/restore.go", "Begin: from, End: x.End, Full", "Begin: from, End: max(x.End-1, 0), Full"},
	}},
}
