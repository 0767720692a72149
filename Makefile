.PHONY: help demo test test-upstream test-faults bench lint schemas readme stop

help:
	@echo 'make demo            install what is missing, start everything, load movements, show the totals'
	@echo '                     DATA=file.csv[.gz] LIMIT=lines'
	@echo 'make test            the tests; ARGS="-k name" for some of them'
	@echo "make test-upstream   Odoo's own tests of stock and of modules that build on it, without the addon and with it;"
	@echo '                     ARGS="stock mrp" for some of the modules'
	@echo 'make test-faults     kills and cuts what events depend on, and proves what arrived; ARGS="worker broker --scale 0.1"'
	@echo "make bench           plain Odoo and the addon under the same load, and the addon's events;"
	@echo '                     ARGS="contention --scale 0.1" for a trial of one suite'
	@echo 'make lint            the linters'
	@echo 'make schemas         the JSON Schema, the AsyncAPI and the OpenAPI document in schemas/, from the code'
	@echo 'make readme          README.rst and the page of the app, from the fragments in readme/'
	@echo 'make stop            end what was started; the data stays'

demo:
	@tools/demo

test:
	@tools/test $(ARGS)

test-upstream:
	@tools/upstream $(ARGS)

test-faults:
	@tools/faults $(ARGS)

bench:
	@tools/bench $(ARGS)

lint:
	@tools/lint

schemas:
	@tools/schemas

readme:
	@tools/readme

stop:
	@tools/stop
