package store

import (
	"reflect"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/ristretto/v2/z"
)

// builderPoolMax is the number of buffers that Badger's pool for table builders holds.
const builderPoolMax = 8

// trimBuilders releases the idle buffers of Badger's table builders. Badger keeps eight of them, each as large as the
// largest table it ever built, and gives them up only while it builds nothing for seconds on end: during the drain of a
// backlog that is 100 MiB and more. The pool has no public name, but public methods: taking a buffer out and releasing it
// is all that is done here. If the pool is not where this version of Badger has it, nothing is.
func trimBuilders(db *badger.DB) {
	field := reflect.ValueOf(db).Elem().FieldByName("allocPool")
	if !field.IsValid() || field.Type() != reflect.TypeFor[*z.AllocatorPool]() || field.IsNil() {
		return
	}
	pool := (*z.AllocatorPool)(field.UnsafePointer())
	for range builderPoolMax {
		pool.Get(0, "trim").Release()
	}
}
