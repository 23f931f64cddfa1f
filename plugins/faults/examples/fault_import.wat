;; Wants random numbers: a component that imports a function is refused before it is instantiated.
(component
  (import "wasi:random/random@0.2.0" (instance
    (export "get-random-u64" (func (result u64)))
  ))
)
