package s3test

import (
	"sync"

	"github.com/wayside-proxy/wayside/test/toolbin"
)

const serverPackage = "github.com/versity/versitygw/cmd/versitygw"

// Binary returns the path of the server's binary. The first time, it builds the binary, which takes a minute or two.
var Binary = sync.OnceValues(func() (string, error) { return toolbin.Binary("versitygw", "", serverPackage) })

// FakeBinary is like Binary, for the second server (see [StartFake]).
var FakeBinary = sync.OnceValues(func() (string, error) { return toolbin.Binary("gofakes3", "gofakes3", ".") })
