package main

// wrongs are faults of operators, at least one for each oracle of internal/oracle.
var wrongs = []wrong{
	{"count", "a row's time is that of its last record", []edit{
		{"internal/op/fold.go", "res.Time = max(at, was)", "res.Time = min(at, was)"},
	}},
	{"reduce", "a new row begins from the row before it", []edit{
		{"internal/op/fold.go", "a, was, ok, err := f.Rows.Load(k)\n", "a, was, ok, err := f.Rows.Load(k)\n\tok = ok && at%7 > 0\n"},
	}},
	{"aggregate-delete-when", "a row that is to be deleted stays in the store", []edit{
		{"internal/op/fold.go", "return res, f.Rows.Delete(at)", "return res, f.Rows.Save(a, at)"},
	}},
	{"reduce-delete-when-in-memory", "what is deleted comes back with a restore", []edit{
		{"testdriver/run.go", "emit = func(c store.Change) error {\n", "emit = func(c store.Change) error {\n\t\t\tif c.Value == nil {\n\t\t\t\treturn nil\n\t\t\t}\n"},
	}},
	{"count-behind-repartition", "a restore leaves the last row out", []edit{
		{"testdriver/restart.go", "if len(changes) == 0 {", "if len(changes) > 0 {\n\t\tchanges = changes[:len(changes)-1]\n\t}\n\tif len(changes) == 0 {"},
	}},
	{"filter-of-count", "a filter says of rows that it never passed that they are gone", []edit{
		{"internal/op/derive.go", "if d.Filter && !row && !out.HasOld {", "if d.Filter && !row && !out.HasOld && false {"},
	}},
	{"table", "an update with an older time is left out", []edit{
		{"internal/op/upsert.go", "old, _, had, err := u.Rows.load(c.Key, u.Old)\n", "old, was, had, err := u.Rows.load(c.Key, true)\n\tif had && was > c.Time.UnixMilli() {\n\t\treturn c, false, err\n\t}\n"},
	}},
	{"table-filter-map", "a filter takes the value before for the one after", []edit{
		{"internal/op/derive.go", "v, row := d.Row(c.Key, c.Value, !c.Tombstone)\n", "v, row := d.Row(c.Key, c.Value, !c.Tombstone)\n\tif d.Filter && c.HasOld && c.Tombstone {\n\t\tv, row = d.Row(c.Key, c.Old, true)\n\t}\n"},
	}},
	{"table-filter-without-store", "a filter keeps its tombstones to itself", []edit{
		{"internal/op/derive.go", "out.Record = out.Record.Deleted()", "return out, false"},
	}},
	{"to-table", "a deletion does not reach the store", []edit{
		{"internal/op/upsert.go", "return c, true, u.Rows.Delete(at)", "return c, true, nil"},
	}},
	{"to-table-behind-repartition", "the row's time is not kept", []edit{
		{"internal/op/upsert.go", "return c, true, u.Rows.Save(c.Value, at)", "return c, true, u.Rows.Save(c.Value, at+1)"},
	}},
	{"stream-table", "a record without a row is joined", []edit{
		{"internal/op/lookup.go", "\tif !ok && !l.Left {\n", "\tif !ok && !l.Left && r.Time.UnixMilli()%3 > 0 {\n"},
	}},
	{"stream-table-left", "a record without a key is left out", []edit{
		{"internal/op/lookup.go", "case r.NoKey && !l.Left:", "case r.NoKey:"},
	}},
	{"stream-table-of-filtered-table", "rows are read from before the filter", []edit{
		{"internal/op/derive.go", "wire.Getter[K, V2] {\n\treturn func(k K) (v2 V2, at int64, ok bool, err error) {\n\t\tv, at, ok, err := of(k)\n\t\tif err != nil {\n\t\t\treturn v2, 0, false, err\n\t\t}\n\t\tv2, ok = d.Row(k, v, ok)", "wire.Getter[K, V2] {\n\treturn func(k K) (v2 V2, at int64, ok bool, err error) {\n\t\tv, at, ok, err := of(k)\n\t\tif err != nil {\n\t\t\treturn v2, 0, false, err\n\t\t}\n\t\tv2, _ = d.Row(k, v, ok)"},
	}},
	{"stream-table-behind-repartition", "the result has the time of its row", []edit{
		{"internal/op/lookup.go", "\treturn topology.WithValue(r, l.Join(r.Value, row, ok)), Joined, nil", "\tr.Time = r.Time.Add(1e6)\n\treturn topology.WithValue(r, l.Join(r.Value, row, ok)), Joined, nil"},
	}},
	{"tumbling-count", "a window takes records a moment after it has closed", []edit{
		{"internal/op/fixed.go", "if start <= closed {", "if start < closed {"},
	}},
	{"hopping-count", "a record is late for all of its windows or for none", []edit{
		{"internal/op/fixed.go", "\t\t\tw.Late()\n\t\t\tcontinue", "\t\t\tw.Late()\n\t\t\tbreak"},
	}},
	{"tumbling-reduce", "stream time is forgotten in a crash", []edit{
		{"internal/task/env.go", "t.times[n] = &graph.OperatorTime{Time: -1}", "return &graph.OperatorTime{Time: -1}"},
	}},
	{"hopping-reduce-in-memory", "the first window of a record is left out", []edit{
		{"internal/op/fixed.go", "start := max(0, at-w.Size+w.Advance) / w.Advance * w.Advance;", "start := (max(0, at-w.Size+w.Advance) + w.Advance - 1) / w.Advance * w.Advance;"},
	}},
	{"tumbling-delete-when", "a window that is deleted stays in the store", []edit{
		{"internal/op/windowrows.go", "\t\tif err := w.Rows.remove(r.Time.UnixMilli()); err != nil {\n\t\t\treturn err\n\t\t}\n\t\treturn w.send(r, k, res)", "\t\treturn w.send(r, k, res)"},
	}},
	{"unlimited-count", "the window takes what came before its start", []edit{
		{"internal/op/fixed.go", "if at < w.From {", "if at < w.From-5 {"},
	}},
	{"sliding-count", "the window after the record before is not made", []edit{
		{"internal/op/sliding.go", "s.last != none && s.last+1+w.Size >= s.time &&", "s.last != none && s.last+1+w.Size/2 >= s.time &&"},
	}},
	{"sliding-count-long-grace", "a record's right window is left out when it was late", []edit{
		{"internal/op/sliding.go", "if s.right || !s.later.there", "if s.right || s.time+w.Size < *w.Time || !s.later.there"},
	}},
	{"sliding-reduce", "a left window takes what lies before it", []edit{
		{"internal/op/sliding.go", "if s.last == none || s.last < start {", "if s.last == none {"},
	}},
	{"sliding-reduce-kept", "a right window has the time of its first record", []edit{
		{"internal/op/sliding.go", "saved, err := w.Rows.put(s.later.raw, s.later.at)", "saved, err := w.Rows.put(s.later.raw, start)"},
	}},
	{"sliding-delete-when", "two records of one time make their windows twice", []edit{
		{"internal/op/sliding.go", "s.done = newest == s.time //", "s.done = newest > s.time //"},
	}},
	{"sliding-count-by-definition", "early records have a window of their own each", []edit{
		{"internal/op/sliding.go", "\tif at < w.Size {\n", "\tif at < w.Size-1 {\n"},
	}},
	{"session-count", "sessions merge at less than the gap", []edit{
		{"internal/op/session.go", "max(0, at-s.Gap), at+s.Gap, true", "max(0, at-s.Gap+1), at+s.Gap, true"},
	}},
	{"session-count-with-grace", "a record is late by its own time, not by its session's", []edit{
		{"internal/op/session.go", "if s.merged.end < s.open(*s.Time) {", "if at < s.open(*s.Time) {"},
	}},
	{"session-reduce", "a session that grows stays in the store", []edit{
		{"internal/op/session.go", "if err := s.Rows.remove(f.start, f.end, at); err != nil {", "if err := error(nil); err != nil {"},
	}},
	{"session-reduce-kept", "sessions are merged in the wrong order", []edit{
		{"internal/op/session.go", "m.agg = s.Merge(k, m.agg, f.agg)", "m.agg = s.Merge(k, f.agg, m.agg)"},
	}},
	{"session-delete-when", "a session that is deleted is sent as if it were there", []edit{
		{"internal/op/session.go", "\t\tres.Gone = true\n\t\tif err := s.Rows.remove(start", "\t\tif err := s.Rows.remove(start"},
	}},
	{"filter-of-tumbling-count", "there is no old value of a window's first record", []edit{
		{"internal/op/windowrows.go", "a, ok = began(w.Start)", "_ = began[A]"},
	}},
	{"tumbling-count-behind-repartition", "a record has the time of its window's start", []edit{
		{"internal/op/windowrows.go", "res := Folded[A]{Time: max(at, was)}", "res := Folded[A]{Time: at}\n\t_ = was"},
	}},
	{"tumbling-count-on-close", "a window is sent before its grace is over", []edit{
		{"internal/op/fixed.go", "return now - w.Grace - w.Size }", "return now - w.Size }"},
	}},
	{"hopping-count-on-close", "what closed before a crash is sent again after it", []edit{
		{"internal/op/fixed.go", "if before >= 0 {", "if before >= 0 && w.closing.known {"},
	}},
	{"sliding-count-on-close", "a window is sent at its last moment", []edit{
		{"internal/op/sliding.go", "return now - w.Grace - w.Size - 1 }", "return now - w.Grace - w.Size }"},
	}},
	{"session-count-on-close", "what is open after a crash is never sent", []edit{
		{"internal/op/windowing.go", "return to >= max(from, 0) && !(c.known && to < c.next)", "return to >= max(from, 0) && to < c.next"},
	}},
	{"session-count-on-close-in-memory", "the last session that has closed waits for the next", []edit{
		{"internal/op/session.go", "if e.End > to {\n\t\t\ts.closing.put(e.End)\n\t\t\tbreak", "if e.End > to-1 {\n\t\t\ts.closing.put(e.End)\n\t\t\tbreak"},
	}},
	{"table-table", "a deletion is kept from the other side's row", []edit{
		{"internal/op/table_table.go", "if !its && (!s.keep || c.Tombstone && !c.HasOld) {", "if (!its || c.Tombstone) && (!s.keep || c.Tombstone && !c.HasOld) {"},
	}},
	{"table-table-left", "the result has the time of the update", []edit{
		{"internal/op/table_table.go", "if its && at > c.Time.UnixMilli() {", "if its && at > c.Time.UnixMilli() && s.keep {"},
	}},
	{"table-table-outer", "a deletion of what was not there is sent on", []edit{
		{"internal/op/table_table.go", "c.Tombstone && !c.HasOld) {\n\t\treturn", "c.Tombstone && !c.HasOld && c.Time.UnixMilli()%2 == 0) {\n\t\treturn"},
	}},
	{"table-three-way", "a row that is made of two has the time of the first", []edit{
		{"internal/op/table_table.go", "if right && (!left || rightAt > at) {", "if right && !left {"},
	}},
	{"table-join-filtered", "old values are not sent on", []edit{
		{"internal/op/table_table.go", "out.Old, out.HasOld = s.row(c.Old, c.HasOld, y, its)", "out.Old, _ = s.row(c.Old, c.HasOld, y, its)"},
	}},
	{"table-group-by-count", "what leaves a group is not taken away", []edit{
		{"internal/op/group_rows.go", "\tif m.HasOld {\n\t\tout[n] =", "\tif m.HasOld && !m.HasNew {\n\t\tout[n] ="},
	}},
	{"table-group-by-reduce", "the first row of a group is added to an empty one", []edit{
		{"internal/op/group_rows.go", "a = f.Add(k, c.New, a, row)", "a = f.Add(k, c.New, a, true)"},
	}},
	{"table-group-by-aggregate", "a row that changes in its group is not taken away first", []edit{
		{"internal/op/group_rows.go", "\t\tif same {\n\t\t\tout[0] = grouped(c, to, m)", "\t\tif same {\n\t\t\tm.HasOld = false\n\t\t\tout[0] = grouped(c, to, m)"},
	}},
	{"table-group-by-sum-delete-when", "DeleteWhen is not asked after a removal", []edit{
		{"internal/op/group_rows.go", "\t\ta = f.Remove(k, c.Old, a)\n\t\ta, row = f.stays(k, a)", "\t\ta = f.Remove(k, c.Old, a)"},
	}},
	{"windowed-counts-grouped-by-key", "changes of windows have no old values", []edit{
		{"internal/op/windowing.go", "Old: res.Old, HasOld: res.HasOld}", "Old: res.Old}"},
	}},
	{"stream-global", "a record without a key to look up is not counted", []edit{
		{"internal/op/lookup_by.go", "\tcase !l.Left:\n\t\treturn out, NoKey, nil", "\tcase !l.Left:\n\t\treturn out, NoRow, nil"},
	}},
	{"stream-global-left", "a record without a row is left out", []edit{
		{"internal/op/lookup_by.go", "if !ok && !l.Left {", "if !ok {"},
	}},
	{"suppress-for", "what is held back has waited a moment too long", []edit{
		{"internal/op/suppress.go", "ok && due <= limit; due, ok = s.buffer.First() {", "ok && due < limit; due, ok = s.buffer.First() {"},
	}},
	{"suppress-for-two-records", "the buffer holds one more", []edit{
		{"internal/op/suppress.go", "int64(s.buffer.Len()) > s.MaxRecords ||", "int64(s.buffer.Len()) > s.MaxRecords+1 ||"},
	}},
	{"suppress-for-nothing", "a deletion is held back for good", []edit{
		{"internal/op/suppress.go", "!gone || !s.Final && !(s.Net", "!gone || !s.Final && v.Time%3 > 0 && !(s.Net"},
	}},
	{"suppress-for-of-filter", "an update of what is held back begins to wait anew", []edit{
		{"internal/buffer/keyed.go", "\t\tdue, v.Prior = at, b.was.Prior", "\t\t_, v.Prior = at, b.was.Prior"},
	}},
	{"suppress-final-tumbling", "final results are sent before the grace is over", []edit{
		{"table/suppress_until_close.go", "wait: after.Milliseconds(), Buffer", "wait: after.Milliseconds() - 1, Buffer"},
	}},
	{"suppress-final-hopping", "the first result of a window is final", []edit{
		{"internal/buffer/keyed.go", "\t\tdue, v.Prior = at, b.was.Prior", "\t\tdue, v = at, b.was"},
	}},
	{"suppress-final-sliding", "final results have the time of their window", []edit{
		{"internal/op/suppress.go", "Time: time.UnixMilli(v.Time), Headers", "Time: time.UnixMilli(v.Time - v.Time%10), Headers"},
	}},
	{"suppress-final-session", "a merged session is sent as a deletion", []edit{
		{"internal/op/suppress.go", "!gone || !s.Final && !(s.Net", "!gone || !(s.Net"},
	}},
	{"table-until-commit", "keys are sent in the order of their first change", []edit{
		{"internal/op/hold.go", "\t\th.unlink(i)\n\t}\n\tx := &h.all[i]", "\t}\n\tx := &h.all[i]"},
		{"internal/op/hold.go", "\th.link(i)\n\treturn h.size > h.Most, nil", "\tif !ok {\n\t\th.link(i)\n\t}\n\treturn h.size > h.Most, nil"},
	}},
	{"reduce-until-commit", "a row that came and went is sent as a deletion", []edit{
		{"internal/op/hold.go", "if err != nil || !row && !x.had {", "if err != nil {"},
	}},
	{"stream-stream", "a partner at the very end of the window is left out", []edit{
		{"internal/op/stream_join.go", "from, to := max(t-j.Before, 0), t+j.After", "from, to := max(t-j.Before, 0), t+j.After-1"},
	}},
	{"stream-stream-no-grace", "the result has the time of the record that came second", []edit{
		{"internal/op/stream_join.go", "\tif at > j.at {\n\t\tout.Time", "\tif at > j.at+1 {\n\t\tout.Time"},
	}},
	{"stream-stream-same-time", "of several records of one time one is a partner", []edit{
		{"internal/op/stream_join.go", "\tj.partner = true\n\tj.err = j.result(e)\n\treturn j.err == nil", "\tj.partner = true\n\tj.err = j.result(e)\n\treturn j.err == nil && j.Before != 0"},
	}},
	{"stream-stream-later-only", "a negative bound is taken for none", []edit{
		{"internal/op/stream_join.go", "from, to := max(t-j.Before, 0), t+j.After", "from, to := max(t-max(j.Before, 0), 0), t+j.After"},
	}},
	{"stream-stream-left", "a record waits in vain, though a partner came", []edit{
		{"internal/op/stream_join.go", "\t\tif err := j.Waiting.matched(1-j.Side, at, j.key, j.at); err != nil {\n\t\t\treturn err\n\t\t}\n", "\t\t_ = at\n"},
	}},
	{"stream-stream-left-before-only", "what waits is given up at the end of its window", []edit{
		{"internal/op/waiting.go", "all, some := now-w.Open[far], now-w.Open[near]", "all, some := now-w.Open[far]+1, now-w.Open[near]+1"},
	}},
	{"stream-stream-left-in-memory", "a record that waits is passed over if it is older than what was looked at", []edit{
		{"internal/op/waiting.go", "\tw.Next[s] = min(w.Next[s], t)\n", ""},
	}},
	{"stream-stream-outer", "a late record without a partner waits", []edit{
		{"internal/op/stream_join.go", "if t+j.After < *j.Time {", "if t+j.After < *j.Time-3 {"},
	}},
	{"stream-stream-outer-uneven", "what is due of the near side waits for the far one", []edit{
		{"internal/op/waiting.go", "\tif w.Next[near] < some {", "\tif w.Next[near] < some-w.Open[far] {"},
	}},
	{"stream-stream-outer-behind-repartition", "the sides have a stream time of their own each", []edit{
		{"internal/op/stream_join.go", "\t*j.Time = max(*j.Time, t)\n", "\tif j.Side == Left {\n\t\t*j.Time = max(*j.Time, t)\n\t}\n"},
	}},
	{"stream-self-join", "a record does not meet itself", []edit{
		{"internal/op/stream_join.go", "\tj.partner = true\n\tj.err = j.result(e)", "\tj.partner = true\n\tif e.Start == j.at {\n\t\treturn true\n\t}\n\tj.err = j.result(e)"},
	}},
	{"cogroup", "one input's records are left out when they are late", []edit{
		{"internal/op/fold.go", "a, was, ok, err := f.Rows.Load(k)\n", "a, was, ok, err := f.Rows.Load(k)\n\tif ok && at < was {\n\t\treturn res, err\n\t}\n"},
	}},
	{"cogroup-tumbling", "a window ends a moment late", []edit{
		{"internal/op/fixed.go", "if start <= closed {", "if start < closed {"},
	}},
	{"cogroup-sliding", "a left window takes what lies before it", []edit{
		{"internal/op/sliding.go", "if s.last == none || s.last < start {", "if s.last == none {"},
	}},
	{"cogroup-sessions", "a session that grows stays in the store", []edit{
		{"internal/op/session.go", "if err := s.Rows.remove(f.start, f.end, at); err != nil {", "if err := error(nil); err != nil {"},
	}},
	{"stream-versioned", "a record finds a version that begins a moment later", []edit{
		{"internal/op/versionrows.go", "return r.row(r.store.AsOf(r.at, at))", "return r.row(r.store.AsOf(r.at, at+1))"},
	}},
	{"stream-versioned-left", "a deleted version is an empty row", []edit{
		{"internal/op/versionrows.go", "\t\treturn v, 0, false, nil\n\t}\n\tif v, err = r.value.Decode(x.Value)", "\t\treturn v, 0, x.From > 0, nil\n\t}\n\tif v, err = r.value.Decode(x.Value)"},
	}},
	{"stream-versioned-grace", "what has waited for the grace waits a moment longer", []edit{
		{"internal/op/grace.go", "g.Queue.Until(*g.Time-g.Wait", "g.Queue.Until(*g.Time-g.Wait-1"},
	}},
	{"stream-versioned-left-grace", "what waited before a crash is left out", []edit{
		{"internal/buffer/queue.go", "\t\tq.least = min(q.least, at)\n\t\tq.count(1, e.Key, q.v.Size())", "\t\t_ = at\n\t\tq.count(1, e.Key, q.v.Size())"},
	}},
	{"versioned-table-table-outer", "updates that come late are joined where there was a row", []edit{
		{"internal/op/versionrows.go", "\tc.Stale = !latest", "\tc.Stale = !latest && !c.HasOld"},
	}},
	{"versioned-table-group-by", "an update that came late counts", []edit{
		{"internal/op/versionrows.go", "\tc.Stale = !latest", "\tc.Stale = false && latest"},
	}},
	{"versioned-table-filter", "a filter of versions keeps to itself what never passed", []edit{
		{"table/derived.go", "Filter: filter && !own.Versioned}", "Filter: filter}"},
	}},
	{"foreign-key", "a row that refers to another one than before stays with the old one", []edit{
		{"internal/op/foreign_key_subscribe.go", "\tcase was && !same:\n\t\tsend(from, true, interchange.Leave)\n", "\tcase was && !same:\n"},
	}},
	{"foreign-key-left", "a deletion of the other row takes the result with it", []edit{
		{"internal/op/foreign_key_resolve.go", "if row && (x.Left || r.Value.HasValue) {", "if row && r.Value.HasValue {"},
	}},
	{"foreign-key-versioned", "the answer has the time of the left row", []edit{
		{"internal/op/foreign_key_answer.go", "if there && at > r.Time.UnixMilli() {", "if there && at > r.Time.UnixMilli() && false {"},
	}},
	{"foreign-key-of-reduce", "some who refer to a row are not noted", []edit{
		{"internal/op/foreign_key_subscriptions.go", "\treturn s.record(\"put\", s.Store.Put(s.key, s.value, at))", "\tif at%5 == 0 {\n\t\treturn nil\n\t}\n\treturn s.record(\"put\", s.Store.Put(s.key, s.value, at))"},
	}},
	{"throttle", "what was held back before a crash is forgotten", []edit{
		{"internal/buffer/keyed.go", "\t\tb.order = append(b.order, entry{due, string(e.Key)})\n", "\t\t_ = due\n"},
	}},
	{"window-store", "rows are there a moment too long", []edit{
		{"internal/layout/expire.go", "{ return t <= l.now()-l.retention }", "{ return t < l.now()-l.retention }"},
	}},
	{"window-store-duplicates", "the numbers of rows begin anew after a crash", []edit{
		{"internal/layout/log.go", "if l.dups && int32((r.seq-l.seq)<<1) > 0 {", "if l.dups && int32((r.seq-l.seq)<<1) > 1<<20 {"},
	}},
	{"session-store", "sessions that begin later are found too", []edit{
		{"internal/layout/scan.go", "if r.start <= s.startTo && !s.out", "if r.start <= s.startTo+5 && !s.out"},
	}},
	{"versioned-store", "the newest of the older versions is lost when it is retired", []edit{
		{"internal/layout/versions.go", "\tgone := versionOf(stored) == nil\n\tif to > l.observed-l.retention {", "\tgone := versionOf(stored) == nil\n\tif to > l.observed-l.retention+20 {"},
	}},
	{"stream-self-join-on-one-store", "a record does not meet itself", []edit{
		{"internal/op/stream_join.go", "\tj.partner = true\n\tj.err = j.result(e)", "\tj.partner = true\n\tif e.Start == j.at {\n\t\treturn true\n\t}\n\tj.err = j.result(e)"},
	}},
	{"global-store", "deletions do not reach the step that keeps the store", []edit{
		{"stream/global_store.go", "func() (func(Record[K, V]) error, error) { return start(x) }", "func() (func(Record[K, V]) error, error) {\n\t\t\t\tf, err := start(x)\n\t\t\t\treturn func(r Record[K, V]) error {\n\t\t\t\t\tif r.Tombstone {\n\t\t\t\t\t\treturn nil\n\t\t\t\t\t}\n\t\t\t\t\treturn f(r)\n\t\t\t\t}, err\n\t\t\t}"},
	}},
	{"read-only-stores", "a deletion is restored as an empty row", []edit{
		{"stream/read_only_store.go", "err = put(s, x.Key, x.Tombstone, func()", "err = put(s, x.Key, false, func()"},
	}},
	{"table-source-is-changelog", "a deletion is restored as an empty row", []edit{
		{"internal/plan/fed.go", "\tif !d.Tombstone {\n\t\tif c.Value", "\tif c.Value = []byte{}; !d.Tombstone {\n\t\tif c.Value"},
	}},
	{"timestamped-store", "a value that is forwarded at an older time has the record's", []edit{
		{"stream/process_values.go", "if !at.IsZero() {", "if at.After(r.Time) {"},
	}},
	{"table-process-values", "a row that the function deletes stays", []edit{
		{"table/process_values.go", "\tif !row {\n\t\tout.Record", "\tif !row && c.Tombstone {\n\t\tout.Record"},
	}},
	{"table-process-values-filtered", "the old value is made of the new row", []edit{
		{"table/process_values.go", "x.f(c.Key, c.Old, c.HasOld)", "x.f(c.Key, c.Value, c.HasOld)"},
	}},
	{"key-value-store", "a deletion leaves an empty row", []edit{
		{"store/typed.go", "s.rows.Delete(k, s.now())", "s.rows.Put(k, []byte{}, s.now())"},
	}},
	{"merged-repartitions", "a use gets what a filter before it leaves out", []edit{
		{"internal/plan/hoist.go", "\tif from.port == at.port {\n\t\tfrom = behind", "\tif from.port != nil {\n\t\tfrom = behind"},
	}},
	{"keep-headers", "a restore leaves headers out", []edit{
		{"internal/layout/headers.go", "c.Value = append(appendHeaders(make([]byte, 0, len(c.Value)+1), c.Headers), c.Value...)", "c.Value = append(appendHeaders(make([]byte, 0, len(c.Value)+1), nil), c.Value...)"},
	}},
	{"tumbling-count-idle", "a record does not make it wait anew", []edit{
		{"table/idle.go", "\t\tx.since = env.Now().UnixMilli()\n\t\treturn in(r)", "\t\treturn in(r)"},
	}},
	{"session-count-idle", "stream time moves where nothing closes", []edit{
		{"table/idle.go", "if at < x.since || !x.f.Closes(at) {", "if at < x.since {"},
	}},
}
