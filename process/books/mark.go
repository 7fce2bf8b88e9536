package books

import (
	"io"
	"net/http"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/query"
)

// serveMark stores a mark that the traffic process has sent.
func (b *books) serveMark(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var mark catalogue.Mark
	if err == nil {
		err = query.DecodeBody(body, &mark)
	}
	if err == nil {
		mark.Text, err = catalogue.CheckMarkText(mark.Text)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	mark, err = b.store.AddMark(mark)
	reply(w, mark, err)
}
