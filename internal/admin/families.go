package admin

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protodelim"
)

// TopicMetrics is the topic under which the books process fetches the traffic process's own metrics ([Server.Families]).
const TopicMetrics = "metrics"

// Families returns the traffic process's own metrics, without those of the books process, for [ReadFamilies].
func (s *Server) Families() ([]byte, error) {
	families, err := s.opt.Gatherer.Gather()
	var out bytes.Buffer
	for _, family := range families {
		if _, err := protodelim.MarshalTo(&out, family); err != nil {
			return nil, fmt.Errorf("encode metric %s: %w", family.GetName(), err)
		}
	}
	if out.Len() == 0 && err != nil {
		return nil, fmt.Errorf("gather metrics: %w", err)
	}
	return out.Bytes(), nil
}

// ReadFamilies reads the result of [Server.Families].
func ReadFamilies(b []byte) (families []*dto.MetricFamily, err error) {
	for r := bytes.NewReader(b); ; {
		family := new(dto.MetricFamily)
		if err := protodelim.UnmarshalFrom(r, family); errors.Is(err, io.EOF) {
			return families, nil
		} else if err != nil {
			return nil, fmt.Errorf("read metrics: %w", err)
		}
		families = append(families, family)
	}
}
