package paths

import (
	"math"
	"slices"
)

// names picks the children of a varying level that are names after all: common, and unlike the others.
func (t *tree) names(children []*child) map[string]bool {
	seen := map[uint32]int{}
	once := 0
	for _, c := range children {
		for s := range c.signs {
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
		own := c.count >= exceptionCount && (len(c.signs) > 0 || flat)
		for s := range c.signs {
			own = own && seen[s] == 1
		}
		unlike := len(c.signs) == 0 && (c.count >= page || c.count >= exceptionCount && !usual[c.shape()])
		switch {
		case !own && !unlike:
			rest = append(rest, c)
		case len(except) < exceptionsMax:
			except[c.name] = true
		}
	}
	apart := outlier(rest)
	for _, c := range rest {
		if c.count >= apart && len(c.signs) == 0 && len(except) < exceptionsMax {
			except[c.name] = true
		}
	}
	return except
}

// Bounds of pageCount.
const (
	pageValues = 8  // values that have names below them
	pageShare  = 8  // one response in so many, at least, is to a name below a value
	pageSure   = 12 // a value shows no name below it with probability e^-12
)

// pageCount is the count from which a child is a name because no name stands below it: "/login" and "/messages/7" beside "/anna"
// and "/anna/posts".
func pageCount(children []*child, seen map[uint32]int) int {
	values, below, total := 0, 0, 0
	for _, c := range children {
		alike := false
		for s := range c.signs {
			alike = alike || seen[s] >= max(3, len(children)/32)
		}
		switch {
		case alike:
			values++
			below += c.named
			total += c.count
		case len(c.signs) == 0 && c.count < exceptionCount:
			total += c.count
		}
	}
	if values < pageValues {
		return never
	}
	return pageCountOf(below, total)
}

// pageCountOf is pageCount where below of total responses went to names below values: with a share p, a value of n responses has
// none there with probability (1-p)^n.
func pageCountOf(below, total int) int {
	if below*pageShare < total || below == 0 {
		return never
	}
	p := min(1, float64(below)/float64(total)) // a watch begins anew now and then
	return max(exceptionCount, int(math.Ceil(pageSure/-math.Log1p(-p))))
}

// shape is what a child looks like from afar: whether it is a file's name, and whether anything stands below it.
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

// Bounds of usualShapes.
const (
	shapesMin   = 24 // children that were seen seldom
	shapesShare = 50 // one in so many of them makes a shape usual
)

// usualShapes are those that the seldom children have, which are the values: "/robots.txt" and "/page/2" are none beside
// "/how-to-bake-bread" and hundreds like it. All shapes are usual while too few children are known.
func usualShapes(children []*child) map[shape]bool {
	counts, seldom := map[shape]int{}, 0
	for _, c := range children {
		if c.count <= 2 {
			counts[c.shape()]++
			seldom++
		}
	}
	usual := map[shape]bool{}
	for i := range 4 {
		s := shape{extension: i&1 > 0, inner: i&2 > 0}
		usual[s] = seldom < shapesMin || counts[s]*shapesShare > seldom
	}
	return usual
}

// never is more than any count.
const never = 1 << 30

// Bounds of outlier.
const (
	outliersMax  = 8  // children that may stand out
	outlierCount = 24 // responses that each of them needs
	outlierGap   = 3  // how many times as often as any other they were asked for
)

// outlier is the count from which children stand out from all others: few of them, asked for several times as often as the
// next. However uneven values are, the most frequent ones come ever closer after each other; a name among them
// ("/user/login" beside "/user/anna") does not.
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
