package otlp

import (
	"math"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of opentelemetry.proto.metrics.v1.
const (
	metricName        = 1
	metricDescription = 2
	metricUnit        = 3
	metricGauge       = 5
	metricSum         = 7
	metricHistogram   = 9
	metricSummary     = 11

	dataPoints      = 1 // of Gauge, Sum, Histogram and Summary
	dataTemporality = 2 // of Sum and Histogram
	sumMonotonic    = 3
	cumulative      = 2 // AGGREGATION_TEMPORALITY_CUMULATIVE

	pointStart      = 2 // of all kinds of points
	pointTime       = 3
	numberDouble    = 4
	pointCount      = 4 // of HistogramDataPoint and SummaryDataPoint
	pointSum        = 5
	numberLabels    = 7 // of NumberDataPoint and SummaryDataPoint
	histogramCounts = 6
	histogramBounds = 7
	histogramLabels = 9
	summaryValues   = 6
	quantileOf      = 1
	quantileValue   = 2
)

// Source is a set of metrics that one process counts.
type Source struct {
	Families []*dto.MetricFamily
	// Started is the time at which the process began to count. Receivers use it to detect that counters have started again at zero.
	Started time.Time
}

// point holds the fields that all points of one export have in common.
type point struct{ started, now uint64 } // nanoseconds since 1970

// appendMetrics appends the metrics of a source, each as the field scopeItems. Names and labels are the same as in /metrics.
func appendMetrics(b []byte, s Source, now time.Time) []byte {
	p := point{nanos(s.Started), nanos(now)}
	for _, f := range s.Families {
		b = appendMessage(b, scopeItems, func(b []byte) []byte {
			b = appendText(b, metricName, f.GetName())
			b = appendText(b, metricDescription, f.GetHelp())
			b = appendText(b, metricUnit, unitOf(f.GetName()))
			return p.appendData(b, f)
		})
	}
	return b
}

func nanos(t time.Time) uint64 {
	if t.Unix() <= 0 {
		return 0
	}
	return uint64(t.UnixNano())
}

// unitOf derives the unit from a name in Prometheus's form. Receivers that write to Prometheus append the unit to names that do not
// contain it, so it must match the name.
func unitOf(name string) string {
	switch name = strings.TrimSuffix(name, "_total"); {
	case strings.HasSuffix(name, "_seconds"):
		return "s"
	case strings.HasSuffix(name, "_bytes"):
		return "By"
	}
	return ""
}

func (p point) appendData(b []byte, f *dto.MetricFamily) []byte {
	each := func(b []byte, one func([]byte, *dto.Metric) []byte) []byte {
		for _, m := range f.GetMetric() {
			b = appendMessage(b, dataPoints, func(b []byte) []byte { return one(b, m) })
		}
		return b
	}
	switch f.GetType() {
	case dto.MetricType_COUNTER:
		return appendMessage(b, metricSum, func(b []byte) []byte {
			b = each(b, func(b []byte, m *dto.Metric) []byte { return p.appendNumber(b, m, m.GetCounter().GetValue()) })
			return appendVarint(appendVarint(b, dataTemporality, cumulative), sumMonotonic, 1)
		})
	case dto.MetricType_HISTOGRAM:
		return appendMessage(b, metricHistogram, func(b []byte) []byte {
			return appendVarint(each(b, p.appendHistogram), dataTemporality, cumulative)
		})
	case dto.MetricType_SUMMARY:
		return appendMessage(b, metricSummary, func(b []byte) []byte { return each(b, p.appendSummary) })
	}
	return appendMessage(b, metricGauge, func(b []byte) []byte {
		return each(b, func(b []byte, m *dto.Metric) []byte {
			if m.GetUntyped() != nil {
				return p.appendNumber(b, m, m.GetUntyped().GetValue())
			}
			return p.appendNumber(b, m, m.GetGauge().GetValue())
		})
	})
}

// appendTimes appends the fields that begin every point.
func (p point) appendTimes(b []byte) []byte {
	return appendFixed64(appendFixed64(b, pointStart, p.started), pointTime, p.now)
}

func appendLabels(b []byte, field protowire.Number, m *dto.Metric) []byte {
	for _, l := range m.GetLabel() {
		b = appendAttribute(b, field, l.GetName(), l.GetValue())
	}
	return b
}

func (p point) appendNumber(b []byte, m *dto.Metric, value float64) []byte {
	return appendDouble(appendLabels(p.appendTimes(b), numberLabels, m), numberDouble, value)
}

// appendHistogram turns cumulative counts into one count per bucket, as OTLP requires. The last bucket has no upper bound.
func (p point) appendHistogram(b []byte, m *dto.Metric) []byte {
	h := m.GetHistogram()
	b = appendLabels(p.appendTimes(b), histogramLabels, m)
	b = appendDouble(appendFixed64(b, pointCount, h.GetSampleCount()), pointSum, h.GetSampleSum())
	var counts, bounds []byte
	below := uint64(0)
	for _, bucket := range h.GetBucket() {
		if math.IsInf(bucket.GetUpperBound(), 1) {
			continue
		}
		counts = protowire.AppendFixed64(counts, bucket.GetCumulativeCount()-below)
		bounds = protowire.AppendFixed64(bounds, math.Float64bits(bucket.GetUpperBound()))
		below = bucket.GetCumulativeCount()
	}
	counts = protowire.AppendFixed64(counts, h.GetSampleCount()-below)
	return appendBytes(appendBytes(b, histogramCounts, counts), histogramBounds, bounds)
}

func (p point) appendSummary(b []byte, m *dto.Metric) []byte {
	s := m.GetSummary()
	b = appendLabels(p.appendTimes(b), numberLabels, m)
	b = appendDouble(appendFixed64(b, pointCount, s.GetSampleCount()), pointSum, s.GetSampleSum())
	for _, q := range s.GetQuantile() {
		b = appendMessage(b, summaryValues, func(b []byte) []byte {
			return appendDouble(appendDouble(b, quantileOf, q.GetQuantile()), quantileValue, q.GetValue())
		})
	}
	return b
}
