package wayside

import (
	"math"
	"os"
	"regexp"
	"strconv"
	"testing"
)

// TestRatiosOfTheReadme: in README's table of measurements each ratio is that of the figures beside it, to the last digit that is shown.
func TestRatiosOfTheReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	number := func(text []byte) float64 {
		n, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	rows := regexp.MustCompile(`(?m)^\| ([^|]+) \| ([0-9.]+) µs \| ([0-9.]+) \|`).FindAllSubmatch(text, -1)
	one := -1.0 // µs of the row that the others are compared with
	for _, row := range rows {
		if string(row[3]) == "1.00" {
			one = number(row[2])
		}
	}
	if len(rows) < 4 || one < 0 {
		t.Fatalf("%d rows, of which one is to be 1.00", len(rows))
	}
	for _, row := range rows {
		if is, says := number(row[2])/one, number(row[3]); math.Abs(is-says) > 0.0051 {
			t.Errorf("%s: %.3f, and the table says %.2f", row[1], is, says)
		}
	}
}
