package store
import ("runtime/pprof";"testing";"os";"fmt";"strings";"time";"context";"runtime";"strconv";"runtime/debug")
func mem(tag string){ b,_:=os.ReadFile("/proc/self/smaps_rollup"); out:=tag
 for _,l:=range strings.Split(string(b),"\n"){ for _,k:=range []string{"Rss:","Pss:","Pss_Anon:","Pss_File:","Pss_Shmem:"}{ if strings.HasPrefix(l,k){ f:=strings.Fields(l); n,_:=strconv.Atoi(f[1]); out+=fmt.Sprintf(" %s%.1fMB",f[0],float64(n)/1024)}}}
 var m runtime.MemStats; runtime.ReadMemStats(&m)
 fmt.Println(out, "heapInuse",m.HeapInuse>>20,"heapSys",m.HeapSys>>20)}
func TestMeasure(t *testing.T){
 if os.Getenv("MEASURE")=="" {t.Skip()}
 mem("start")
 debug.SetGCPercent(50)
 o:=testOptions(t.TempDir()); if v:=os.Getenv("MT");v!=""{n,_:=strconv.Atoi(v);o.MemTableBytes=int64(n)<<20}

 s,err:=Open(o); if err!=nil{t.Fatal(err)}
 mem("open")
 ctx,cancel:=context.WithCancel(context.Background()); go s.Run(ctx)
 g:=newTraffic(1)
 start:=time.Now(); batches:=0
 b:=g.batch(4096)
 for time.Since(start)<12*time.Second {
  nextRound(b); for i:=range b.Items{b.Items[i].Event.TimeMicros=time.Now().UnixMicro()+int64(i)*100}
  if err:=s.Apply(b);err!=nil{t.Fatal(err)}
  batches++
  if batches%32==0 {time.Sleep(300*time.Millisecond); mem(fmt.Sprintf("%d events",batches*4096))}
 }
 mem("before pageout"); fmt.Println("covered",s.pageout()>>20); mem("after pageout")
 t0:=time.Now(); tot,agg,_:=s.Account(ctx); fmt.Println(tot,agg,time.Since(t0))
 mem("after account")
 l,v:=s.Size(); fmt.Println("size",l,v,float64(l+v)/float64(tot.Applied))
 if f,e:=os.Create("/tmp/heap.prof");e==nil{runtime.GC();pprof.WriteHeapProfile(f);f.Close()}
 cancel(); s.Close()
}
