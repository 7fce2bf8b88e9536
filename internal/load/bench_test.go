package load

import (
	"net"
	"os"
	"testing"
)

// BenchmarkRun measures requests against the origin at WAYSIDE_LOAD_ADDRESS, or against a loop that answers without parsing.
func BenchmarkRun(b *testing.B) {
	address := os.Getenv("WAYSIDE_LOAD_ADDRESS")
	if address == "" {
		address = bareOrigin(b)
	}
	b.ReportAllocs()
	var sent, received Bitmap
	report, err := Run(b.Context(), Options{
		Address: address, Connections: 64, Requests: uint64(b.N), Sent: &sent, Received: &received,
	})
	if err != nil || report.Completed != uint64(b.N) {
		b.Fatal(report, err)
	}
	b.ReportMetric(report.PerSecond(), "req/s")
}

func bareOrigin(b *testing.B) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 4096)
				for {
					if _, err := conn.Read(buf); err != nil {
						return
					}
					if _, err := conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")); err != nil {
						return
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
}
