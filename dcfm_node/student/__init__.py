"""A student that a run made, as a Python object: loaded and verified, sampled, saved, exported.

```python
import dcfm_node

student = dcfm_node.load_student("student")
drawn = student.sample(digit="3", n=16)
drawn.save("threes.png")
```

No daemon and no network is needed. `dcfm-node student sample` and `export` use the same code.
"""
