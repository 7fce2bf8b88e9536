package paths

import (
	"math"
	"slices"
)

// names returns those children of a varying level that are names rather than values: they are common and unlike the
// others.
func (t *tree) names(children []*child) map[string]bool {
	seen := map[uint32]int{}
	once := 0
	for _, c := range children {
		for s := range c.below {
			seen[s]++
		}
		if c.count <= 1 {
			once++
		}
	}
	flat := once*10 >= 9*len(children)
	except := map[string]bool{}
	page, usual := pageCount(children, seen), usualShapes(children)
	var rest []*child
	for _, c := range children {
		own := c.count >= exceptionCount && (len(c.below) > 0 || flat)
		for s := range c.below {
			own = own && seen[s] == 1
		}
		unlike := len(c.below) == 0 && (c.count >= page || c.count >= exceptionCount && !usual[c.shape()])
		switch {
		case !own && !unlike:
			rest = append(rest, c)
		case len(except) < exceptionsMax:
			except[c.name] = true
		}
	}
	outlying := outlier(rest)
	for _, c := range rest {
		if c.count >= outlying && len(c.below) == 0 && len(except) < exceptionsMax {
			except[c.name] = true
		}
	}
	return except
}

// Thresholds of pageCount.
const (
	pageValues = 8  // minimum number of values with names below them
	pageShare  = 8  // at least one response in this many must be for a name below a value
	pageSure   = 12 // accepted probability, e^-12, that a value gets no response for a name below it
)

// pageCount returns the count from which a child without names below it is considered a name, such as "/login" beside
// "/anna" and "/anna/posts".
func pageCount(children []*child, seen map[uint32]int) int {
	values, below, total := 0, 0, 0
	for _, c := range children {
		alike := false
		for s := range c.below {
			alike = alike || seen[s] >= max(3, len(children)/32)
		}
		switch {
		case alike:
			values++
			below += c.named
			total += c.count
		case len(c.below) == 0 && c.count < exceptionCount:
			total += c.count
		}
	}
	if values < pageValues {
		return never
	}
	return pageCountOf(below, total)
}

// pageCountOf computes pageCount, given that below of total responses are for names below values. With the share p = below/total, the
// probability that none of the n responses of a value is for a name below it is (1-p)^n.
func pageCountOf(below, total int) int {
	if below*pageShare < total || below == 0 {
		return never
	}
	p := min(1, float64(below)/float64(total)) // below can exceed total after a watch has been reset
	return max(exceptionCount, int(math.Ceil(pageSure/-math.Log1p(-p))))
}

// shape describes whether a child looks like a file name, and whether there are rows below it.
type shape struct {
	extension, inner bool
}

func (c *child) shape() shape {
	_, ext := splitExt([]byte(c.name))
	s := shape{extension: len(ext) > 0}
	for _, sample := range c.samples {
		s.inner = s.inner || sample.rest != ""
	}
	return s
}

// Thresholds of usualShapes.
const (
	shapesMin   = 24 // minimum number of rare children
	shapesShare = 50 // a shape is usual if one rare child in this many has it
)

// usualShapes returns the shapes of the rare children, because rare children are values. Beside "/how-to-bake-bread" and hundreds of
// similar paths, "/robots.txt" and "/page/2" have unusual shapes, so they are not values. If there are too few children to tell, all
// shapes are usual.
func usualShapes(children []*child) map[shape]bool {
	counts, rareChildren := map[shape]int{}, 0
	for _, c := range children {
		if c.count <= 2 {
			counts[c.shape()]++
			rareChildren++
		}
	}
	usual := map[shape]bool{}
	for i := range 4 {
		s := shape{extension: i&1 > 0, inner: i&2 > 0}
		usual[s] = rareChildren < shapesMin || counts[s]*shapesShare > rareChildren
	}
	return usual
}

// never is larger than any count.
const never = 1 << 30

// Thresholds of outlier.
const (
	outliersMax  = 8  // maximum number of outliers
	outlierCount = 24 // minimum number of responses of each outlier
	outlierGap   = 3  // minimum ratio between the count of an outlier and the count of any child that is not one
)

// outlier returns the count above which a few children have several times as many responses as all others. The counts of values decrease
// gradually, even if they are very uneven; the count of a name among them ("/user/login" beside "/user/anna") stands out.
func outlier(children []*child) int {
	counts := make([]int, len(children))
	for i, c := range children {
		counts[i] = c.count
	}
	slices.Sort(counts)
	slices.Reverse(counts)
	for i := min(outliersMax, len(counts)-1); i > 0; i-- {
		if counts[i-1] >= outlierCount && counts[i-1] >= outlierGap*counts[i] {
			return counts[i-1]
		}
	}
	return never
}
