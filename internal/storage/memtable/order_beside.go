package memtable

// building is an order that a reader makes while the owner goes on.
type building struct {
	of    *Snapshot
	added []ref // entries that were added meanwhile
}

const (
	copyAtOnce   = 1024 // slots of the index that a reader looks at before it lets the owner in
	insertAtOnce = 64   // entries
)

// orderFor returns the table's order. If there is none, it makes one on the goroutine of a reader: it
// copies the keys, some at a time, sorts the copies without the lock, and then adds the entries that
// the owner has added meanwhile. So the owner waits for microseconds, where it would take a second
// over a few million rows itself. It pays for the order from then on, like that of a step which scans.
func (t *Table) orderFor(x *Snapshot) (*order, error) {
	if o := t.order.Load(); o != nil {
		return o, nil
	}
	// Before the lock of the table, for as long as it takes: other readers, and an owner that needs the
	// order now, wait for this one and need not make their own.
	t.orderMu.Lock()
	defer t.orderMu.Unlock()
	for {
		if o := t.order.Load(); o != nil {
			return o, nil
		}
		keys, removed, err := t.copyKeys(x)
		if err != nil {
			return nil, err
		}
		o := &order{table: t, arena: arena{account: keys.account}, commonPrefix: keys.sample()}
		all := make([]sortEntry, len(keys.refs))
		for i := range all {
			all[i] = sortEntry{o.prefix(keys.key(ref(i))), ref(i)}
		}
		sortByKey(all, keys.key)
		for i := range all {
			all[i].ref = keys.refs[all[i].ref]
		}
		o.fill(all)
		published, err := t.publishOrder(x, o, removed)
		if published {
			return o, nil
		}
		o.arena.drop()
		if err != nil {
			return nil, err
		}
	}
}

// copiedKeys are the entries of a table and a copy of their keys.
type copiedKeys struct {
	account *Account
	refs    []ref
	ends    []int // of the keys in bytes
	bytes   []byte
}

func (c *copiedKeys) key(i ref) []byte {
	from := 0
	if i > 0 {
		from = c.ends[i-1]
	}
	return c.bytes[from:c.ends[i]]
}

func (c *copiedKeys) sample() []byte {
	var keys [][]byte
	for i := range min(64, len(c.refs)) {
		keys = append(keys, c.key(ref(i)))
	}
	return commonPrefixOf(keys)
}

// copyKeys copies the keys of all entries, some at a time. It begins again when the index has grown
// or an entry was removed: others have moved to slots that were visited then. While a snapshot is
// open, entries are removed by Undo alone, so that is rare. removed counts the removals until now.
func (t *Table) copyKeys(x *Snapshot) (keys *copiedKeys, removed uint64, err error) {
	var slots, at int
	for {
		x.all.enter()
		switch {
		case x.ended != nil:
			err = x.ended
			x.all.mu.Unlock()
			return nil, 0, err
		case keys == nil || slots != len(t.index.slots) || removed != t.removed:
			keys, slots, at, removed = &copiedKeys{account: t.arena.account}, len(t.index.slots), 0, t.removed
			t.building = &building{of: x}
		}
		for end := min(at+copyAtOnce, slots); at < end; at++ {
			if s := t.index.slots[at]; s != 0 {
				keys.refs = append(keys.refs, ref(s))
				keys.bytes = append(keys.bytes, entry(t.arena.bytes(ref(s))).key()...)
				keys.ends = append(keys.ends, len(keys.bytes))
			}
			if x.all.wanted.Load() {
				at++
				break
			}
		}
		x.all.mu.Unlock()
		if at == slots {
			return keys, removed, nil
		}
	}
}

// publishOrder adds to an order what was added to the table since its keys were copied, and makes it
// the table's. It reports false when entries were removed.
func (t *Table) publishOrder(x *Snapshot, o *order, removed uint64) (published bool, err error) {
	for {
		x.all.enter()
		switch {
		case x.ended != nil:
			err = x.ended
		case t.removed == removed:
			added := t.building.added
			n := 0
			for n < len(added) && n < insertAtOnce && !x.all.wanted.Load() {
				o.insertMissing(added[n])
				n++
			}
			if t.building.added = added[n:]; len(t.building.added) > 0 {
				x.all.mu.Unlock()
				continue
			}
			t.building = nil
			t.order.Store(o)
			published = true
		}
		x.all.mu.Unlock()
		return published, err
	}
}
