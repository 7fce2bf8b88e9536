package http2

import (
	"encoding/binary"
	"fmt"
)

// This file defines frames (RFC 9113, sections 4.1 and 6).

// Preface is the first data that a client sends (RFC 9113, section 3.4). Its first line and the empty line after it, PrefaceHead,
// look like an HTTP/1.1 request, so that a server that accepts both protocols on the same port can recognize them.
const (
	Preface     = PrefaceHead + "SM\r\n\r\n"
	PrefaceHead = "PRI * HTTP/2.0\r\n\r\n"
)

type frameType uint8

const (
	frameData frameType = iota
	frameHeaders
	framePriority
	frameReset
	frameSettings
	framePushPromise
	framePing
	frameGoAway
	frameWindowUpdate
	frameContinuation
)

// Flags of frames.
const (
	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// Sizes, in bytes.
const (
	frameHeaderBytes = 9
	frameBytesMax    = 16384 // minimum and initial value of SETTINGS_MAX_FRAME_SIZE; this side never allows more
	windowMax        = 1<<31 - 1
	windowFirst      = 65535 // initial size of every window (RFC 9113, section 6.9.2)
	streamIDMax      = 1<<31 - 1
)

// Settings (RFC 9113, section 6.5.2).
const (
	settingEnablePush    = 0x2
	settingStreamsMax    = 0x3
	settingInitialWindow = 0x4
	settingFrameBytesMax = 0x5
	settingHeaderListMax = 0x6
	settingConnect       = 0x8 // SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441, section 3)
	settingBytes         = 6   // its identifier and value
)

// Code is an error code (RFC 9113, section 7).
type Code uint32

// The error codes that this package sends.
const (
	CodeNone             Code = 0x0
	CodeProtocol         Code = 0x1
	CodeInternal         Code = 0x2
	CodeFlowControl      Code = 0x3
	CodeStreamClosed     Code = 0x5
	CodeFrameSize        Code = 0x6
	CodeRefusedStream    Code = 0x7
	CodeCancel           Code = 0x8
	CodeCompression      Code = 0x9
	CodeEnhanceYourCalm  Code = 0xb
	CodeHTTP11Required   Code = 0xd
	codesKnown                = 0xe
	codeSettingsTimeout  Code = 0x4
	codeConnect          Code = 0xa
	codeInadequateSecure Code = 0xc
)

var codeNames = [codesKnown]string{
	CodeNone: "NO_ERROR", CodeProtocol: "PROTOCOL_ERROR", CodeInternal: "INTERNAL_ERROR", CodeFlowControl: "FLOW_CONTROL_ERROR",
	codeSettingsTimeout: "SETTINGS_TIMEOUT", CodeStreamClosed: "STREAM_CLOSED", CodeFrameSize: "FRAME_SIZE_ERROR",
	CodeRefusedStream: "REFUSED_STREAM", CodeCancel: "CANCEL", CodeCompression: "COMPRESSION_ERROR", codeConnect: "CONNECT_ERROR",
	CodeEnhanceYourCalm: "ENHANCE_YOUR_CALM", codeInadequateSecure: "INADEQUATE_SECURITY", CodeHTTP11Required: "HTTP_1_1_REQUIRED",
}

// String returns the name of the code in RFC 9113, or its number.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code 0x%x", uint32(c))
}

// ConnError is an error that ends the connection. A GOAWAY frame with its code is already in the output.
type ConnError struct {
	Code   Code
	Reason string
	Limit  Limit // the limit that the peer has exceeded; LimitNone if it violated the protocol instead
}

func (e *ConnError) Error() string { return "http2: " + e.Code.String() + ": " + e.Reason }

func protocolError(reason string) *ConnError { return &ConnError{Code: CodeProtocol, Reason: reason} }

func frameSizeError(reason string) *ConnError { return &ConnError{Code: CodeFrameSize, Reason: reason} }

// frameHeader is the header of a frame.
type frameHeader struct {
	length int
	kind   frameType
	flags  uint8
	stream uint32
}

func parseFrameHeader(b []byte) frameHeader {
	return frameHeader{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		kind:   frameType(b[3]),
		flags:  b[4],
		stream: binary.BigEndian.Uint32(b[5:9]) & streamIDMax,
	}
}

func (h frameHeader) has(flag uint8) bool { return h.flags&flag != 0 }

func appendFrameHeader(dst []byte, length int, kind frameType, flags uint8, stream uint32) []byte {
	dst = append(dst, byte(length>>16), byte(length>>8), byte(length), byte(kind), flags)
	return binary.BigEndian.AppendUint32(dst, stream)
}

func appendSetting(dst []byte, id uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(dst, id), value)
}

func appendUint32Frame(dst []byte, kind frameType, stream, value uint32) []byte {
	return binary.BigEndian.AppendUint32(appendFrameHeader(dst, 4, kind, 0, stream), value)
}
