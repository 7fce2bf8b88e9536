// Command gofakes3 serves an S3 API from memory, for the contract suite of the archive's targets: a second implementation
// beside versitygw, which checks no signatures and answers in its own way.
//
//	gofakes3 ADDRESS BUCKET
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: gofakes3 ADDRESS BUCKET")
		os.Exit(2)
	}
	backend := s3mem.New()
	if err := backend.CreateBucket(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ln, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server := &http.Server{Handler: gofakes3.New(backend).Server(), ReadHeaderTimeout: 10 * time.Second}
	fmt.Fprintln(os.Stderr, server.Serve(ln))
	os.Exit(1)
}
