package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/query"
)

// MarkStore stores marks. The store implements it.
type MarkStore interface {
	AddMark(mark catalogue.Mark) (catalogue.Mark, error)
	MarksBetween(ctx context.Context, from, to time.Time, fn func(catalogue.Mark) error) error
}

// marksAnswer is the body of GET /api/v1/marks.
type marksAnswer struct {
	From  time.Time        `json:"from"`
	To    time.Time        `json:"to"`
	Marks []catalogue.Mark `json:"marks"` // oldest first
}

var marksParams = []string{"from", "to", "limit"}

// marks handles GET /api/v1/marks. If there are more marks than the limit, it lists the latest.
func (h *handler) marks(r *http.Request) (any, error) {
	p := parseParams(r.URL.RawQuery, h.Now(), marksParams...)
	limit := p.limit()
	from, to := p.span("from", "to")
	if p.err != nil {
		return nil, p.err
	}
	if h.Marks == nil {
		return nil, ErrUnavailable
	}
	answer := marksAnswer{From: from.UTC(), To: to.UTC(), Marks: []catalogue.Mark{}}
	err := h.Marks.MarksBetween(r.Context(), from, to, func(m catalogue.Mark) error {
		answer.Marks = append(answer.Marks, m)
		return nil
	})
	answer.Marks = answer.Marks[max(0, len(answer.Marks)-limit):]
	return answer, err
}

// markBytesMax limits the body of a request that makes a mark.
const markBytesMax = 4 << 10

// markOrder is the request body of POST /api/v1/marks.
type markOrder struct {
	Text string `json:"text"`
}

// addMark handles POST /api/v1/marks and returns the new mark.
func (h *handler) addMark(r *http.Request) (any, error) {
	if err := noParameters(r); err != nil {
		return nil, err
	}
	if h.Marks == nil {
		return nil, ErrUnavailable
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, markBytesMax+1))
	if err == nil && len(body) > markBytesMax {
		err = errors.New("the body is too long for a mark")
	}
	var order markOrder
	if err == nil {
		err = query.DecodeBody(body, &order)
	}
	if err == nil {
		order.Text, err = catalogue.CheckMarkText(order.Text)
	}
	if err != nil {
		return nil, badRequest{err.Error()}
	}
	return h.Marks.AddMark(catalogue.Mark{Time: h.Now(), Kind: catalogue.MarkNote, Text: order.Text})
}
