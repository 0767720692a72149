.PHONY: help demo test test-upstream lint stop

help:
	@echo 'make demo            install what is missing, start everything, load movements, show the totals'
	@echo '                     DATA=file.csv[.gz] LIMIT=lines'
	@echo 'make test            the tests; ARGS="-k name" for some of them'
	@echo "make test-upstream   Odoo's own stock tests with the addon installed"
	@echo 'make lint            the linters'
	@echo 'make stop            end what was started; the data stays'

demo:
	@tools/demo

test:
	@tools/test $(ARGS)

test-upstream:
	@tools/test --upstream $(ARGS)

lint:
	@tools/lint

stop:
	@tools/stop
