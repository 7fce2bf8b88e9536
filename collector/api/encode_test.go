package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// Series are written without reflection, to the byte as json.Marshal would.
func TestSeriesEncoding(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	number := func() uint64 { return random.Uint64() >> random.IntN(64) }
	a := seriesAnswer{Path: `/a"points":null<b>`, From: time.Unix(0, 0).UTC(), Before: &rangeBefore{}, Points: []point{}}
	for i := range 200 {
		f := Figures{
			Count: number(), Rate: float64(number()) / float64(1+number()), Errors: number(), Streams: number(), Status: map[string]uint64{},
			BytesIn: number(), BytesOut: number(), Latency: Latency{number(), number(), number(), number(), number(), number(), number()},
		}
		for range random.IntN(4) {
			f.Status[fmt.Sprint(random.IntN(1000))] = number()
		}
		switch random.IntN(4) {
		case 0:
			f.ErrorTypes = map[string]uint64{"connect_refused": 1, `<"\x01>`: number()}
		case 1:
			f.Rate = []float64{0, 1e-6, 9.99e-7, 1e21, 1e20, 5e-324, 0.1}[random.IntN(7)]
		}
		a.Points = append(a.Points, point{hourTime(int64(i) * 7919), f})
		for _, v := range []seriesAnswer{a, {}, {Points: []point{}}} {
			want, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			got, err := marshal(v)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%v\n%s\n%s", err, got, want)
			}
		}
	}
}
