package s3test

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

func TestServerKeepsObjectsAsFilesAndRestarts(t *testing.T) {
	s := Start(t)
	client, err := minio.New(strings.TrimPrefix(s.Endpoint, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""), Region: s.Region, BucketLookup: minio.BucketLookupPath, MaxRetries: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	put := minio.PutObjectOptions{UserMetadata: map[string]string{"wayside-rows": "3"}}
	if _, err := client.PutObject(ctx, s.Bucket, "a/b=1/c", strings.NewReader("hello"), 5, put); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if _, err := client.StatObject(ctx, s.Bucket, "a/b=1/c", minio.StatObjectOptions{}); err == nil {
		t.Fatal("a stopped server answers")
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	info, err := client.StatObject(ctx, s.Bucket, "a/b=1/c", minio.StatObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if info.UserMetadata["Wayside-Rows"] != "3" {
		t.Fatalf("metadata after a restart: %v", info.UserMetadata)
	}
	content, err := os.ReadFile(s.ObjectPath("a/b=1/c"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content, []byte("hello")) {
		t.Fatalf("the object's file holds %q", content)
	}
}
