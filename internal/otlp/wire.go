package otlp

import (
	"bytes"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// The functions in this file append fields of protobuf messages. Field numbers are those of opentelemetry-proto v1; stable fields never
// change their numbers. The tests decode everything with the official types.

// Fields of opentelemetry.proto.common.v1 and resource.v1.
const (
	resourceAttributes = 1
	scopeName          = 1
	scopeVersion       = 2
	keyValueKey        = 1
	keyValueValue      = 2
	anyString          = 1
	anyInt             = 3
)

// appendMessage appends a field that is itself a message. fill appends the fields of that message.
func appendMessage(b []byte, field protowire.Number, fill func([]byte) []byte) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	at := len(b)
	b = fill(b)
	n := len(b) - at
	var room [10]byte
	b = append(b, room[:protowire.SizeVarint(uint64(n))]...)
	copy(b[len(b)-n:], b[at:at+n])
	protowire.AppendVarint(b[:at], uint64(n))
	return b
}

// appendText appends a string field. Receivers reject a whole request if one of its strings is not valid UTF-8, so appendText replaces
// invalid bytes.
func appendText[T string | []byte](b []byte, field protowire.Number, text T) []byte {
	return appendBytes(b, field, bytes.ToValidUTF8([]byte(text), []byte("\uFFFD")))
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

func appendVarint(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func appendFixed64(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), v)
}

func appendDouble(b []byte, field protowire.Number, v float64) []byte {
	return appendFixed64(b, field, math.Float64bits(v))
}

// appendAttribute appends an attribute with a text value.
func appendAttribute[T string | []byte](b []byte, field protowire.Number, key string, value T) []byte {
	return appendMessage(b, field, func(b []byte) []byte {
		return appendMessage(appendText(b, keyValueKey, key), keyValueValue, func(b []byte) []byte { return appendText(b, anyString, value) })
	})
}

// appendNumber appends an attribute with a number.
func appendNumber(b []byte, key string, value uint64) []byte {
	return appendMessage(b, spanAttributes, func(b []byte) []byte {
		return appendMessage(appendText(b, keyValueKey, key), keyValueValue, func(b []byte) []byte { return appendVarint(b, anyInt, value) })
	})
}

// Fields of the messages around metrics and spans. The messages for both have the same structure and the same numbers.
const (
	requestResources = 1 // Export…ServiceRequest.resource_…
	resourceResource = 1 // Resource….resource
	resourceScopes   = 2 // Resource….scope_…
	scopeScope       = 1 // Scope….scope
	scopeItems       = 2 // ScopeMetrics.metrics, ScopeSpans.spans
)

// request returns an Export…ServiceRequest. items are its metrics or spans, each already encoded as the field scopeItems.
func (o *Options) request(items []byte) []byte {
	b := make([]byte, 0, len(items)+512)
	return appendMessage(b, requestResources, func(b []byte) []byte {
		b = appendMessage(b, resourceResource, func(b []byte) []byte {
			b = appendAttribute(b, resourceAttributes, "service.name", o.Service)
			return appendAttribute(b, resourceAttributes, "service.instance.id", o.Instance)
		})
		return appendMessage(b, resourceScopes, func(b []byte) []byte {
			b = appendMessage(b, scopeScope, func(b []byte) []byte {
				return appendText(appendText(b, scopeName, "wayside"), scopeVersion, o.Version)
			})
			return append(b, items...)
		})
	})
}

// fieldOf returns the last value of a field in a message: a number, or the bytes of a text or a message. It returns nothing if the message
// does not have the field, or is malformed.
func fieldOf(message []byte, field protowire.Number) (number uint64, text []byte) {
	for len(message) > 0 {
		id, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return 0, nil
		}
		size := protowire.ConsumeFieldValue(id, kind, message[n:])
		if size < 0 {
			return 0, nil
		}
		if value := message[n : n+size]; id == field {
			switch kind {
			case protowire.VarintType:
				number, _ = protowire.ConsumeVarint(value)
			case protowire.BytesType:
				text, _ = protowire.ConsumeBytes(value)
			}
		}
		message = message[n+size:]
	}
	return number, text
}
